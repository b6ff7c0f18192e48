package install

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluicemesh/sluice/cli/render"
	"github.com/sluicemesh/sluice/cli/target"
)

// ManifestCommand returns the verb manifest with generate below it.
func ManifestCommand(t *target.Target) *cobra.Command {
	cmd := &cobra.Command{Use: "manifest", Short: "Show what would be installed"}
	c := &chosen{}
	generate := &cobra.Command{
		Use:   "generate",
		Short: "Print the objects that install would apply",
		Long: `Print the objects that install would apply, in that order, with the same settings.

Definitions must be served before anything uses them, and server-side apply keeps the
webhook's caBundle: pipe the output to kubectl apply --server-side -f -.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := c.load(cmd, t)
			if err != nil {
				return err
			}
			parts, err := render.Parts(s)
			if err != nil {
				return err
			}
			text, err := render.YAML(parts)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(t.Out, "%s", text)
			return err
		},
	}
	c.addFlags(generate)
	cmd.AddCommand(generate)
	return cmd
}
