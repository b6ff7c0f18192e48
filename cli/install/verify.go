package install

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluicemesh/sluice/cli/apply"
	"github.com/sluicemesh/sluice/cli/render"
	"github.com/sluicemesh/sluice/cli/settings"
	"github.com/sluicemesh/sluice/cli/target"
)

// VerifyCommand returns the verb verify-install.
func VerifyCommand(t *target.Target) *cobra.Command {
	c := &chosen{}
	cmd := &cobra.Command{
		Use:   "verify-install",
		Short: "Check that everything that was installed is there and ready",
		Long: `Check that everything that was installed is there and ready.

Without settings, those that the installation recorded in the cluster are taken.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return verify(cmd, t, c) },
	}
	c.addFlags(cmd)
	return cmd
}

func verify(cmd *cobra.Command, t *target.Target, c *chosen) error {
	a, err := applier(t, true, 0)
	if err != nil {
		return err
	}
	var s settings.Settings
	if c.empty() {
		s, err = installed(cmd.Context(), a, t.IstioNamespace, c.revision)
	} else {
		s, err = c.load(cmd, t)
	}
	if err != nil {
		return err
	}
	parts, err := render.Parts(s)
	if err != nil {
		return err
	}
	checks, err := a.Verify(cmd.Context(), parts)
	if err != nil {
		return err
	}
	return report(t, checks)
}

// report prints a line for each object; faults make the error.
func report(t *target.Target, checks []apply.Check) error {
	var faults []string
	count := map[string]int{}
	for _, c := range checks {
		count[c.Kind]++
		if c.Fault != "" {
			faults = append(faults, c.Object+": "+c.Fault)
			fmt.Fprintf(t.Out, "✘ %s: %s\n", c.Object, c.Fault)
			continue
		}
		fmt.Fprintf(t.Out, "✔ %s checked successfully\n", c.Object)
	}
	fmt.Fprintf(t.Out, "Checked %d custom resource definitions\n", count["CustomResourceDefinition"])
	fmt.Fprintf(t.Out, "Checked %d deployments\n", count["Deployment"])
	if len(checks) == 0 {
		return fmt.Errorf("the settings install nothing")
	}
	if len(faults) > 0 {
		return fmt.Errorf("%d of %d objects are missing or not ready:\n%s", len(faults), len(checks), strings.Join(faults, "\n"))
	}
	fmt.Fprintln(t.Out, "✔ Sluice is installed and verified successfully")
	return nil
}
