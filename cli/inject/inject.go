// Package inject has the verbs kube-inject and inject: what the injection webhook makes of
// the objects in files or in the cluster, as objects or as a list of differences.
//
// The decision and the pod are those of webhook.Inject, the same function that the webhook
// calls; this package reads, edits and prints documents. Nothing is written to the cluster.
package inject

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/sluicemesh/sluice/cli/change"
	"github.com/sluicemesh/sluice/cli/document"
	"github.com/sluicemesh/sluice/cli/source"
	"github.com/sluicemesh/sluice/cli/target"
	"github.com/sluicemesh/sluice/cli/terminal"
	"github.com/sluicemesh/sluice/cli/workload"
)

// options are the flags of both verbs.
type options struct {
	source  source.Options
	files   []string
	output  string
	webhook string
	// diff is the form of the differences; empty for objects.
	diff  string
	full  bool
	color string
}

// The forms of differences.
const (
	formText = "text"
	formJSON = "json"
	formYAML = "yaml"
)

// KubeInjectCommand returns the verb kube-inject, as Istio's users know it.
func KubeInjectCommand(t *target.Target) *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use:   "kube-inject -f FILE",
		Short: "Inject the proxy into the objects of files",
		Long: `Inject the proxy into the objects of files: Pod, Deployment, DaemonSet, ReplicaSet, StatefulSet,
Job, CronJob, ReplicationController, DeploymentConfig, Rollout, and Lists of them. All other objects,
and what injection does not change, come out as they went in.

The settings are those of the cluster's control plane; without a cluster, the built-in ones. Flags
replace or change either, and standard error says which were taken. Pods are injected whatever the
control plane's policy says, unless they say no themselves or use the node's network. After a mistake
in any object nothing is written and the exit code is 1.

With --webhookConfig each pod is sent, through the API server, to the webhook of that
MutatingWebhookConfiguration, whose own policy and settings decide then.`,
		Example: `  sluice kube-inject -f app.yaml | kubectl apply -f -
  kubectl get deployment web -o yaml | sluice kube-inject -f - -o injected.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(o.files) == 0 {
				return errors.New("name the files with -f; - is standard input")
			}
			return o.run(cmd.Context(), t, nil)
		},
	}
	o.addFlags(cmd)
	return cmd
}

// Command returns the verb inject.
func Command(t *target.Target) *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use:   "inject [-f FILE | POD | KIND/NAME]...",
		Short: "Inject the proxy into files or objects of the cluster, or show what that changes",
		Long: `Inject the proxy as kube-inject does, into files or objects of the cluster. With --diff, show
what injection changes instead: each container, variable, probe and volume by name. The cluster is
only read.

For a pod that is injected already, --diff shows what another injection, now, would change.`,
		Example: `  sluice inject --diff -f app.yaml
  sluice inject --diff deployment/web -n shop
  sluice inject --diff=json deployment/web`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(o.files)+len(args) == 0 {
				return errors.New("name files with -f, or objects of the cluster as KIND/NAME")
			}
			return o.run(cmd.Context(), t, args)
		},
	}
	o.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.diff, "diff", "", "show differences: text, json, or yaml for the lines of the documents")
	f.Lookup("diff").NoOptDefVal = formText
	f.BoolVar(&o.full, "full", false, "show all values in full, those of new containers, too")
	f.StringVar(&o.color, "color", terminal.ColorAuto, "colour the differences: auto, always or never")
	return cmd
}

func (o *options) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVarP(&o.files, "filename", "f", nil, "file with objects, YAML or JSON; - is standard input; may be repeated")
	f.StringVarP(&o.output, "output", "o", "", "file to write; empty means standard output")
	f.StringVar(&o.webhook, "webhookConfig", "", "MutatingWebhookConfiguration whose webhook is asked, through the API server")
	o.source.AddFlags(f)
}

// run reads all, injects all, and only then writes.
func (o *options) run(ctx context.Context, t *target.Target, args []string) error {
	if !slices.Contains([]string{"", formText, formJSON, formYAML}, o.diff) {
		return fmt.Errorf("--diff is %q: write text, json or yaml", o.diff)
	}
	paint, err := terminal.NewPaint(o.colorOrNever(), t.Out, t.NoColor)
	if err != nil {
		return err
	}
	s, err := source.Open(ctx, t, o.source)
	if err != nil {
		return err
	}
	inputs, err := o.read(ctx, t, s, args)
	if err != nil {
		return err
	}
	b, err := o.batch(ctx, t, s)
	if err != nil {
		return err
	}
	b.say(s.Notes...)
	for _, in := range inputs {
		if err := b.inject(ctx, in); err != nil {
			return err
		}
	}
	if err := b.failure(); err != nil {
		return err
	}
	text, err := o.render(inputs, b, paint)
	if err != nil {
		return err
	}
	if o.output != "" {
		return save(o.output, text)
	}
	_, err = t.Out.Write(text)
	return err
}

// colorOrNever leaves files without colours.
func (o *options) colorOrNever() string {
	if o.diff == "" || o.output != "" && o.color == terminal.ColorAuto {
		return terminal.ColorNever
	}
	return o.color
}

// batch chooses who injects.
func (o *options) batch(ctx context.Context, t *target.Target, s *source.Source) (*batch, error) {
	b := &batch{target: t}
	if o.webhook != "" {
		hook, err := s.Webhook(ctx, o.webhook)
		if err != nil {
			return nil, err
		}
		b.live = hook
		return b, nil
	}
	injector, err := s.Injector(ctx)
	if err != nil {
		return nil, err
	}
	b.local = forced(injector)
	return b, nil
}

// render writes what was asked for.
func (o *options) render(inputs []*input, b *batch, paint terminal.Paint) ([]byte, error) {
	switch o.diff {
	case formText:
		return b.text(paint, o.full), nil
	case formJSON:
		text, err := json.MarshalIndent(b.results, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("write the differences: %w", err)
		}
		return append(text, '\n'), nil
	case formYAML:
		var out []byte
		for _, in := range inputs {
			out = append(out, diff.Diff(in.name, in.text, in.name+" (injected)", document.Write(in.docs))...)
		}
		return out, nil
	}
	files := make([][]*document.Document, len(inputs))
	for i, in := range inputs {
		files[i] = in.docs
	}
	return document.Write(files...), nil
}

// result is what injection does to one object.
type result struct {
	Object string `json:"object"`
	// Injected and Reason are the decision.
	Injected bool            `json:"injected"`
	Reason   string          `json:"reason,omitempty"`
	Warnings []string        `json:"warnings,omitempty"`
	Changes  []change.Change `json:"changes"`
}

func titleOf(item document.Item) string { return workload.Title(item.Object) }
