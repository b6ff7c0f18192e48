package inject

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/cli/change"
	"github.com/sluicemesh/sluice/cli/document"
	"github.com/sluicemesh/sluice/cli/source"
	"github.com/sluicemesh/sluice/cli/target"
	"github.com/sluicemesh/sluice/cli/terminal"
	"github.com/sluicemesh/sluice/cli/workload"
	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/webhook/policy"
)

// batch injects the objects of all inputs, and collects what there is to say.
type batch struct {
	target *target.Target
	// One of the two injects.
	local *source.Injector
	live  *source.Webhook

	results []result
	fatal   []problem.Problem
}

// forced makes an injector inject all pods that do not say no themselves: who runs the verb
// has decided already. hostNetwork and the cluster's namespaces still count.
func forced(i *source.Injector) *source.Injector {
	settings := *i.Settings
	settings.Rules = policy.Rules{Policy: policy.Enabled}
	out := *i
	out.Settings = &settings
	return &out
}

// inject injects the objects of one input.
func (b *batch) inject(ctx context.Context, in *input) error {
	for _, doc := range in.docs {
		items, err := doc.Items()
		if err != nil {
			return fmt.Errorf("%s: %w", in.name, err)
		}
		for _, item := range items {
			if err := b.item(ctx, doc, item); err != nil {
				return err
			}
		}
	}
	return nil
}

// item injects one object.
func (b *batch) item(ctx context.Context, doc *document.Document, item document.Item) error {
	r := result{Object: titleOf(item), Changes: []change.Change{}}
	pod, err := b.pod(ctx, item, &r)
	if err != nil {
		return fmt.Errorf("%s: %w", r.Object, err)
	}
	for _, w := range r.Warnings {
		b.say("warning: " + w)
	}
	if pod != nil {
		r.Injected = true
		before, err := document.Tree(item.Pod)
		if err != nil {
			return err
		}
		after, err := document.Tree(pod)
		if err != nil {
			return err
		}
		r.Changes = append(r.Changes, change.Diff(before, after)...)
		if err := doc.Edit(item, pod); err != nil {
			return err
		}
	}
	b.results = append(b.results, r)
	return nil
}

// pod returns the injected pod; nil when it is left alone or refused.
func (b *batch) pod(ctx context.Context, item document.Item, r *result) (*corev1.Pod, error) {
	if b.live != nil {
		return b.ask(ctx, item, r)
	}
	out, err := b.local.Inject(ctx, item.Pod, b.target.Namespace)
	if err != nil {
		return nil, err
	}
	r.Reason = string(out.Decision.Reason)
	for _, p := range out.Problems {
		p = located(p, item)
		if p.Fatal {
			b.fatal = append(b.fatal, p)
		} else {
			r.Warnings = append(r.Warnings, p.String())
		}
	}
	told := func(p problem.Problem) bool { return p.Reason == r.Reason }
	if !out.Decision.Inject && !slices.ContainsFunc(out.Problems, told) {
		r.Warnings = append(r.Warnings, r.Object+": not injected: "+why(out.Decision.Reason))
	}
	return out.Pod, nil
}

// ask lets the cluster's webhook inject.
func (b *batch) ask(ctx context.Context, item document.Item, r *result) (*corev1.Pod, error) {
	namespace := item.Pod.Namespace
	if namespace == "" {
		namespace = b.target.DefaultNamespace()
	}
	answer, err := b.live.Ask(ctx, item.Pod, namespace)
	if err != nil {
		return nil, err
	}
	for _, w := range answer.Warnings {
		r.Warnings = append(r.Warnings, r.Object+": "+w)
	}
	r.Reason = answer.Reason
	if answer.Pod == nil && len(answer.Warnings) == 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s: not injected by %s [%s]", r.Object, b.live.Name, answer.Reason))
	}
	return answer.Pod, nil
}

// why is a reason in words, with its code.
func why(reason policy.Reason) string {
	text, ok := policy.Doc(reason)
	if !ok {
		return string(reason)
	}
	return strings.TrimSpace(text.Means+" "+text.Do) + " [" + string(reason) + "]"
}

// located names the object of the file in place of the pod that it makes.
func located(p problem.Problem, item document.Item) problem.Problem {
	if p.Kind != "Pod" {
		return p
	}
	p.Kind = item.Kind.GVK.Kind
	p.Name, p.Namespace = workload.Name(item.Object)
	if path := strings.Join(item.Kind.Template, "."); path != "" && p.Path != "" {
		p.Path = path + "." + p.Path
	}
	return p
}

// say writes lines to standard error.
func (b *batch) say(lines ...string) {
	for _, line := range lines {
		fmt.Fprintln(b.target.Err, line)
	}
}

// failure is all mistakes as one error.
func (b *batch) failure() error {
	if len(b.fatal) == 0 {
		return nil
	}
	return errors.New(problem.Join(b.fatal))
}

// text writes the differences for people.
func (b *batch) text(paint terminal.Paint, full bool) []byte {
	var out bytes.Buffer
	w := change.Writer{Out: &out, Paint: paint, Full: full}
	for i, r := range b.results {
		if i > 0 {
			out.WriteByte('\n')
		}
		if !r.Injected {
			fmt.Fprintf(&out, "%s\n  %s\n", paint.Title(r.Object), paint.Changed("not injected ["+r.Reason+"]"))
			continue
		}
		w.Write(r.Object, r.Changes)
	}
	return out.Bytes()
}
