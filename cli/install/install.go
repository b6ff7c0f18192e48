// Package install has the verbs that bring a mesh into a cluster, look at it and remove it:
// install, uninstall, verify-install, manifest and profile.
//
// The verbs read flags and files and print; what is installed is decided by package
// settings, made by package render and brought into the cluster by package apply.
package install

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicemesh/sluice/cli/apply"
	"github.com/sluicemesh/sluice/cli/render"
	"github.com/sluicemesh/sluice/cli/settings"
	"github.com/sluicemesh/sluice/cli/target"
	"github.com/sluicemesh/sluice/cli/terminal"
)

// options are the flags of install.
type options struct {
	chosen  chosen
	yes     bool
	dryRun  bool
	wait    bool
	timeout time.Duration
}

// Command returns the verb install, also called apply.
func Command(t *target.Target) *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use:     "install",
		Aliases: []string{"apply"},
		Short:   "Install a mesh into the cluster, or change the one that is there",
		Example: `  # The default profile
  sluice install -y

  # The profile demo, with a change
  sluice install --set profile=demo --set meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY

  # A file of settings
  sluice profile dump demo > my.yaml
  sluice install -f my.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd, t) },
	}
	o.chosen.addFlags(cmd)
	f := cmd.Flags()
	f.BoolVarP(&o.yes, "skip-confirmation", "y", false, "do not ask")
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would be done to each object, and do nothing")
	f.BoolVar(&o.wait, "wait", true, "wait until each component is ready")
	f.DurationVar(&o.timeout, "readiness-timeout", 5*time.Minute, "how long to wait for one component")
	return cmd
}

func (o *options) run(cmd *cobra.Command, t *target.Target) error {
	s, err := o.chosen.load(cmd, t)
	if err != nil {
		return err
	}
	parts, err := render.Parts(s)
	if err != nil {
		return err
	}
	a, err := applier(t, o.wait, o.timeout)
	if err != nil {
		return err
	}
	if o.dryRun {
		return preview(cmd.Context(), t, a, parts)
	}
	if !o.yes {
		question := fmt.Sprintf("This will install the profile %q (%s) with revision %q into the cluster.", s.Profile, titles(parts), orDefault(s.Revision))
		if err := confirm(t, question); err != nil {
			return err
		}
	}
	if err := a.Install(cmd.Context(), parts); err != nil {
		return err
	}
	pruned, err := a.Prune(cmd.Context(), s.Revision, parts)
	for _, name := range pruned {
		fmt.Fprintf(t.Out, "✔ %s removed, as the settings no longer have it\n", name)
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(t.Out, "✔ Installation complete")
	return nil
}

// applier acts on the target's cluster.
func applier(t *target.Target, wait bool, timeout time.Duration) (apply.Applier, error) {
	c, err := t.Client()
	if err != nil {
		return apply.Applier{}, err
	}
	return apply.Applier{Client: c, Printer: terminal.New(t.Out), Timeout: timeout, Wait: wait}, nil
}

// preview prints what an installation would do.
func preview(ctx context.Context, t *target.Target, a apply.Applier, parts []render.Part) error {
	changes, err := a.Preview(ctx, parts)
	if err != nil {
		return err
	}
	for _, c := range changes {
		fmt.Fprintf(t.Out, "would %s %s\n", c.Verb, c.Object)
	}
	return nil
}

// titles lists the parts for a sentence.
func titles(parts []render.Part) string {
	if len(parts) == 0 {
		return "no component"
	}
	var names []string
	for _, p := range parts {
		names = append(names, p.Title)
	}
	return strings.Join(names, ", ")
}

func orDefault(revision string) string {
	if revision == "" {
		return "default"
	}
	return revision
}

// confirm asks on the terminal; anything but a yes is an error.
func confirm(t *target.Target, question string) error {
	fmt.Fprintf(t.Out, "%s Proceed? (y/N) ", question)
	answer, err := bufio.NewReader(t.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	fmt.Fprintln(t.Out)
	return errors.New("not confirmed, nothing was done: answer y, or pass -y")
}

// installed reads the settings that an installation recorded.
func installed(ctx context.Context, a apply.Applier, namespace, revision string) (settings.Settings, error) {
	text, err := a.Record(ctx, namespace, revision)
	if err != nil {
		return settings.Settings{}, err
	}
	s, problems := settings.Load(settings.Request{
		Files: []settings.File{{Name: render.RecordName(revision), Text: []byte(text)}},
	})
	return s, refuse(problems)
}
