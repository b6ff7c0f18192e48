package explain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/sluicemesh/sluice/cli/source"
	"github.com/sluicemesh/sluice/cli/target"
	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/webhook/policy"
)

// CheckCommand returns the verb check-inject, as Istio's users know it.
func CheckCommand(t *target.Target) *cobra.Command {
	labelPairs := ""
	cmd := &cobra.Command{
		Use:   "check-inject [POD | KIND/NAME]",
		Short: "Show which webhook injects a pod, with a line for each",
		Long: `Show which webhook injects a pod, or would, with a line for each MutatingWebhookConfiguration.

Unlike with labels alone, INJECTED is the whole decision: that of the API server, which looks at labels,
and that of the injector. explain-inject shows every rule.`,
		Example: `  sluice x check-inject web-5c9f7d-abcde.shop
  sluice x check-inject deployment/web -n shop
  sluice x check-inject -n shop -l app=web,version=v1`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && labelPairs == "" {
				return errors.New("name a POD or KIND/NAME, or give a pod's labels with -l")
			}
			return check(cmd.Context(), t, chosen{args: args, labels: labelPairs})
		},
	}
	cmd.Flags().StringVarP(&labelPairs, "labels", "l", "", "labels of a pod before it exists, KEY=VALUE,…")
	return cmd
}

func check(ctx context.Context, t *target.Target, c chosen) error {
	s, err := source.Open(ctx, t, source.Options{})
	if err != nil {
		return err
	}
	if _, live := s.Cluster(); !live {
		return errors.New(s.Notes[0])
	}
	w, err := newWorld(ctx, s)
	if err != nil {
		return err
	}
	subjects, err := c.subjects(ctx, t, w)
	if err != nil {
		return err
	}
	for _, sub := range subjects {
		if err := w.table(ctx, t, sub); err != nil {
			return err
		}
	}
	for _, n := range w.notes {
		fmt.Fprintln(t.Err, n)
	}
	return nil
}

// table writes a line for each configuration, then the decision of all of them.
func (w *world) table(ctx context.Context, t *target.Target, s subject) error {
	q, err := w.question(ctx, s.pod, s.namespace)
	if err != nil {
		return err
	}
	out := tabwriter.NewWriter(t.Out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(out, "WEBHOOK\tREVISION\tINJECTED\tREASON")
	for _, config := range configsOf(w.webhooks) {
		one := q
		one.Webhooks = slices.DeleteFunc(slices.Clone(w.webhooks), func(h policy.Webhook) bool { return h.Config != config })
		e := policy.Explain(one)
		mark := "✘"
		if e.Decision.Inject {
			mark = "✔"
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", config, nameOf(one.Webhooks[0]), mark, reasonOf(one, e))
	}
	if err := out.Flush(); err != nil {
		return err
	}
	v, err := w.explain(ctx, s)
	if err != nil {
		return err
	}
	text := writer{out: t.Out}
	fmt.Fprintf(t.Out, "\n%s: %s\n", v.Object, text.headline(&v))
	if v.Running != nil {
		fmt.Fprintln(t.Out, now(&v))
	}
	return nil
}

func configsOf(hooks []policy.Webhook) []string {
	var out []string
	for i := range hooks {
		if !slices.Contains(out, hooks[i].Config) {
			out = append(out, hooks[i].Config)
		}
	}
	return out
}

// nameOf is the revision, or the tag that stands for it.
func nameOf(h policy.Webhook) string {
	if h.Tag != "" {
		return h.Tag
	}
	return h.Revision
}

// reasonOf says which label made the API server ask, or what stood in the way.
func reasonOf(q policy.Question, e policy.Explanation) string {
	for _, s := range e.Steps {
		if s.Reason == policy.SelectorMismatch {
			// Of one webhook among several this is no fault: the labels ask for another.
			pair := meta.Revision + "=" + nameOf(q.Webhooks[0])
			return "No matching namespace label (" + pair + ") or pod label (" + pair + ")"
		}
		if s.Outcome == policy.Refuses {
			return s.Found + " [" + string(s.Reason) + "]"
		}
	}
	if e.Webhook == nil {
		return string(e.Decision.Reason)
	}
	if !e.Decision.Inject {
		return "The injector's settings are not known [" + string(e.Decision.Reason) + "]"
	}
	if pair := demanded(e.Webhook.NamespaceSelector, q.Namespace.Labels); pair != "" {
		return "Namespace label " + pair + " matches"
	}
	if pair := demanded(e.Webhook.ObjectSelector, q.Pod.Labels); pair != "" {
		return "Pod label " + pair + " matches"
	}
	return "Injection is on where no label says otherwise"
}

// demanded returns the label whose value a selector asks for, KEY=VALUE; empty for none.
func demanded(s labels.Selector, set map[string]string) string {
	requirements, _ := s.Requirements()
	for i := range requirements {
		switch requirements[i].Operator() {
		case selection.In, selection.Equals, selection.DoubleEquals:
			key := requirements[i].Key()
			return key + "=" + set[key]
		default:
		}
	}
	return ""
}
