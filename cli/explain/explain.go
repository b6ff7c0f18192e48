package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluicemesh/sluice/cli/source"
	"github.com/sluicemesh/sluice/cli/target"
	"github.com/sluicemesh/sluice/cli/terminal"
	"github.com/sluicemesh/sluice/webhook/policy"
)

// NotInjected is the exit code of explain-inject when an object is not injected.
const NotInjected = target.Exit(2)

type options struct {
	source          source.Options
	files           []string
	namespaceLabels string
	output          string
	color           string
}

// Command returns the verb explain-inject.
func Command(t *target.Target) *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use:   "explain-inject {POD | KIND/NAME | -f FILE}",
		Short: "Explain why pods are injected or not: each rule, what it found, what to change",
		Long: `Explain why the pods of an object are injected or not.

Each rule is shown in the order in which it is tried: first those of the API server, which looks at
labels and asks an injector or not, then those of the injector. Both are the same rules that decide
when a pod is created, with the cluster's namespace labels, webhook configurations and settings.

For a file without a cluster, the chart's webhooks and settings hold; namespaces that the file itself
has, or --namespace-labels, give the labels.

The exit code is 0 when all objects asked about are injected, 2 when one is not, 1 after an error.`,
		Example: `  sluice explain-inject deployment/web -n shop
  sluice explain-inject -f app.yaml --namespace-labels istio-injection=enabled --offline`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), t, args) },
	}
	f := cmd.Flags()
	f.StringArrayVarP(&o.files, "filename", "f", nil, "file with objects, YAML or JSON; - is standard input; may be repeated")
	f.StringVar(&o.namespaceLabels, "namespace-labels", "", "labels of the namespaces in place of the cluster's, KEY=VALUE,…; \"\" asks the cluster")
	f.StringVarP(&o.output, "output", "o", "", "json; empty for text")
	f.StringVar(&o.color, "color", terminal.ColorAuto, "auto, always or never")
	f.StringVarP(&o.source.Revision, "revision", "r", "", "without a cluster, the revision of the control plane")
	f.StringArrayVarP(&o.source.Sets, "set", "s", nil, "one setting of the control plane over those in force, path=value; may be repeated")
	f.StringVar(&o.source.OperatorFile, "operatorFileName", "", "file with an IstioOperator object, whose settings are taken in place of the cluster's")
	f.BoolVar(&o.source.Offline, "offline", false, "ask no cluster")
	return cmd
}

// verdict is the answer about one object, in the shape that scripts read.
type verdict struct {
	Object    string `json:"object"`
	Namespace string `json:"namespace"`
	Injected  bool   `json:"injected"`
	// Reason is the code of the decision; with Refused, that of the first mistake.
	Reason string `json:"reason"`
	// Refused says that the pod would be injected, but is not admitted: see Problems.
	Refused  bool   `json:"refused,omitempty"`
	Webhook  string `json:"webhook,omitempty"`
	Revision string `json:"revision,omitempty"`
	// Running is what a running pod is like now.
	Running  *running      `json:"running,omitempty"`
	Steps    []policy.Step `json:"steps"`
	Problems []string      `json:"problems,omitempty"`
}

type running struct {
	Injected bool   `json:"injected"`
	Revision string `json:"revision,omitempty"`
}

func (o *options) run(ctx context.Context, t *target.Target, args []string) error {
	if !slices.Contains([]string{"", "json"}, o.output) {
		return fmt.Errorf("unknown output %q: json, or nothing for text", o.output)
	}
	if len(args)+len(o.files) == 0 {
		return errors.New("name a POD, KIND/NAME, or a file with -f")
	}
	paint, err := terminal.NewPaint(o.color, t.Out, t.NoColor)
	if err != nil {
		return err
	}
	verdicts, err := o.ask(ctx, t, args)
	if err != nil {
		return err
	}
	if o.output == "json" {
		text, err := json.MarshalIndent(verdicts, "", "  ")
		if err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
		fmt.Fprintf(t.Out, "%s\n", text)
	} else {
		w := writer{out: t.Out, paint: paint}
		for i := range verdicts {
			w.verdict(&verdicts[i])
		}
	}
	if slices.ContainsFunc(verdicts, func(v verdict) bool { return !v.Injected }) {
		return NotInjected
	}
	return nil
}

func (o *options) ask(ctx context.Context, t *target.Target, args []string) ([]verdict, error) {
	s, err := source.Open(ctx, t, o.source)
	if err != nil {
		return nil, err
	}
	w, err := newWorld(ctx, s)
	if err != nil {
		return nil, err
	}
	if o.namespaceLabels != "" {
		if w.given[""], err = labels.ConvertSelectorToLabelsMap(o.namespaceLabels); err != nil {
			return nil, fmt.Errorf("--namespace-labels %q: %w", o.namespaceLabels, err)
		}
	}
	subjects, err := chosen{args: args, files: o.files}.subjects(ctx, t, w)
	if err != nil {
		return nil, err
	}
	verdicts := make([]verdict, len(subjects))
	for i, sub := range subjects {
		if verdicts[i], err = w.explain(ctx, sub); err != nil {
			return nil, err
		}
	}
	w.report(t)
	return verdicts, nil
}

// report writes what was noted on the way to standard error.
func (w *world) report(t *target.Target) {
	for _, n := range slices.Concat(w.source.Notes, w.notes) {
		fmt.Fprintln(t.Err, n)
	}
}

// explain asks both gates, and the injection itself when they say yes.
func (w *world) explain(ctx context.Context, s subject) (verdict, error) {
	q, err := w.question(ctx, s.pod, s.namespace)
	if err != nil {
		return verdict{}, err
	}
	e := policy.Explain(q)
	v := verdict{
		Object: s.title, Namespace: s.namespace, Injected: e.Decision.Inject, Reason: string(e.Decision.Reason), Steps: e.Steps,
	}
	if e.Webhook != nil {
		v.Webhook, v.Revision = e.Webhook.String(), e.Webhook.Revision
	}
	if s.running {
		v.Running = &running{Injected: s.injected(), Revision: revisionOf(s.pod)}
	}
	if !e.Decision.Inject {
		return v, nil
	}
	if i := w.injector(ctx, v.Revision); i != nil {
		out, err := i.Inject(ctx, s.pod, s.namespace)
		if err != nil {
			return verdict{}, err
		}
		for _, p := range out.Problems {
			v.Problems = append(v.Problems, p.String())
			if p.Fatal && !v.Refused {
				v.Injected, v.Refused, v.Reason = false, true, p.Reason
			}
		}
	}
	return v, nil
}
