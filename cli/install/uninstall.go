package install

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicemesh/sluice/cli/apply"
	"github.com/sluicemesh/sluice/cli/render"
	"github.com/sluicemesh/sluice/cli/target"
	"github.com/sluicemesh/sluice/manifests"
)

// removal are the flags of uninstall.
type removal struct {
	purge    bool
	revision string
	yes      bool
	dryRun   bool
	wait     bool
	timeout  time.Duration
}

// UninstallCommand returns the verb uninstall.
func UninstallCommand(t *target.Target) *cobra.Command {
	r := &removal{}
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove a mesh from the cluster; running pods keep their proxies until restarted",
		Example: `  # Everything, with the definitions and all custom resources
  sluice uninstall --purge

  # One control plane of several, with its gateways
  sluice uninstall --revision canary`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.run(cmd, t) },
	}
	f := cmd.Flags()
	f.BoolVar(&r.purge, "purge", false, "remove every revision, the definitions and what the control plane wrote")
	f.StringVarP(&r.revision, "revision", "r", "", "remove this revision only")
	f.BoolVarP(&r.yes, "skip-confirmation", "y", false, "do not ask")
	f.BoolVar(&r.dryRun, "dry-run", false, "list what would be removed, and do nothing")
	f.BoolVar(&r.wait, "wait", true, "wait until everything is gone")
	f.DurationVar(&r.timeout, "timeout", 5*time.Minute, "how long to wait")
	return cmd
}

func (r *removal) run(cmd *cobra.Command, t *target.Target) error {
	if r.purge == (r.revision != "") {
		return errors.New("say what to remove: either --purge or --revision NAME")
	}
	a, err := applier(t, r.wait, r.timeout)
	if err != nil {
		return err
	}
	names, err := definitions()
	if err != nil {
		return err
	}
	scope := apply.Removal{Revision: r.revision, Namespace: t.IstioNamespace, Definitions: names}
	planned, err := a.Plan(cmd.Context(), scope)
	if err != nil {
		return err
	}
	if r.dryRun {
		for _, o := range planned {
			fmt.Fprintf(t.Out, "would remove %s\n", render.Name(o))
		}
		return nil
	}
	if len(planned) == 0 && r.revision != "" {
		return fmt.Errorf("there is no revision %q in the cluster", r.revision)
	}
	if !r.yes {
		question := fmt.Sprintf("This will remove %d objects.", len(planned))
		if r.purge {
			question = fmt.Sprintf("This will remove all revisions of the mesh, the definitions, and with these all custom resources: %d objects.", len(planned))
		}
		if err := confirm(t, question); err != nil {
			return err
		}
	}
	if err := a.Remove(cmd.Context(), scope, planned); err != nil {
		return err
	}
	fmt.Fprintln(t.Out, "✔ Uninstall complete")
	return nil
}

// definitions are the names of all definitions that an installation brings.
func definitions() ([]string, error) {
	objects, err := manifests.Render(manifests.Release{Chart: manifests.Base})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, o := range objects {
		names = append(names, o.GetName())
	}
	return names, nil
}
