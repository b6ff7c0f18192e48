package install

import (
	"fmt"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/sluicemesh/sluice/cli/settings"
	"github.com/sluicemesh/sluice/cli/target"
	"github.com/sluicemesh/sluice/manifests"
)

// ProfileCommand returns the verb profile with list, dump and diff below it.
func ProfileCommand(t *target.Target) *cobra.Command {
	cmd := &cobra.Command{Use: "profile", Short: "List, show and compare the profiles of settings"}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "list",
			Short: "List the profiles",
			Args:  cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				fmt.Fprintln(t.Out, "Configuration profiles:")
				for _, name := range manifests.Profiles() {
					fmt.Fprintln(t.Out, "    "+name)
				}
				return nil
			},
		},
		&cobra.Command{
			Use:   "dump [PROFILE]",
			Short: "Print the settings of a profile; without a name, of the profile default",
			Args:  cobra.MaximumNArgs(1),
			RunE: func(_ *cobra.Command, args []string) error {
				text, err := dump(t, append(args, "default")[0])
				if err != nil {
					return err
				}
				_, err = t.Out.Write(text)
				return err
			},
		},
		&cobra.Command{
			Use:   "diff PROFILE PROFILE",
			Short: "Compare the settings of two profiles",
			Args:  cobra.ExactArgs(2),
			RunE:  func(_ *cobra.Command, args []string) error { return compare(t, args[0], args[1]) },
		},
	)
	return cmd
}

// dump is a profile as a file of settings.
func dump(t *target.Target, profile string) ([]byte, error) {
	s, problems := settings.Load(settings.Request{Sets: []string{"profile=" + profile}, Tag: t.Version})
	if err := refuse(problems); err != nil {
		return nil, err
	}
	return s.YAML()
}

// compare prints the lines that differ; nothing when none do.
func compare(t *target.Target, a, b string) error {
	before, err := dump(t, a)
	if err != nil {
		return err
	}
	after, err := dump(t, b)
	if err != nil {
		return err
	}
	_, err = t.Out.Write(diff.Diff(a, before, b, after))
	return err
}
