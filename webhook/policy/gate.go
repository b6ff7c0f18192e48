package policy

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/sluicemesh/sluice/internal/meta"
)

// attempt is the API server's gate while it is walked.
type attempt struct {
	q     *Question
	steps *[]Step // nil where nobody reads them
	// live are the entries that are not deactivated.
	live []*Webhook
	// kept are the conditions that alone kept an entry from calling.
	kept []Condition
}

// note adds a step where somebody reads it.
func (a *attempt) note(s Step) {
	if a.steps != nil {
		*a.steps = append(*a.steps, s)
	}
}

// tryWebhooks tries each entry as the API server does: namespace selector, object selector,
// conditions. It returns those that call, in order.
func (a *attempt) tryWebhooks() []*Webhook {
	var calling []*Webhook
	for i := range a.q.Webhooks {
		w := &a.q.Webhooks[i]
		if w.deactivated() {
			a.tried(w, "the entry is active", Missed, func() string { return Deactivated + "=never-match: another revision is the default" })
			continue
		}
		a.live = append(a.live, w)
		if a.try(w) {
			calling = append(calling, w)
		}
	}
	if len(calling) > 1 {
		a.note(several(calling))
	}
	return calling
}

func several(calling []*Webhook) Step {
	names := make([]string, len(calling))
	for i, w := range calling {
		names[i] = w.String()
	}
	return Step{
		Gate: APIServer, Rule: "one entry calls", Outcome: Warns, Reason: MultipleWebhooks,
		Found:  "called by " + strings.Join(names, " and ") + ", in this order",
		Remedy: "label the namespace or the pod for one revision only",
	}
}

// try tries one entry and reports whether it calls.
func (a *attempt) try(w *Webhook) bool {
	if !a.selects(w, "namespace", w.NamespaceSelector, a.q.Namespace.Labels) || !a.selects(w, "pod", w.ObjectSelector, a.q.Pod.Labels) {
		return false
	}
	for _, c := range w.Conditions {
		holds, known := c.holds(w, a.q)
		outcome := Passed
		switch {
		case !known:
			outcome = NotEvaluated
		case !holds:
			outcome = Missed
		}
		a.tried(w, "condition "+c.Name, outcome, func() string { return c.found(a.q) })
		if !holds {
			a.kept = append(a.kept, c)
			return false
		}
	}
	a.tried(w, "the entry calls the injector", Calls, func() string {
		return fmt.Sprintf("revision %s answers, failurePolicy %s", w.Revision, w.FailurePolicy)
	})
	return true
}

func (a *attempt) selects(w *Webhook, what string, s labels.Selector, set map[string]string) bool {
	outcome := Passed
	if !s.Matches(labels.Set(set)) {
		outcome = Missed
	}
	a.tried(w, what+" selector", outcome, func() string { return foundLabels(what, s, set) })
	return outcome == Passed
}

// tried notes the outcome of one rule of an entry.
func (a *attempt) tried(w *Webhook, rule string, o Outcome, found func() string) {
	if a.steps == nil {
		return
	}
	s := Step{Gate: APIServer, Webhook: w.String(), Rule: rule, Outcome: o, Found: found()}
	if o == NotEvaluated {
		s.Reason = ConditionUnknown
	}
	a.note(s)
}

// foundLabels lists the labels that a selector asks for: those that fail, else all.
func foundLabels(what string, s labels.Selector, set map[string]string) string {
	requirements, selectable := s.Requirements()
	if !selectable {
		return "the selector selects nothing"
	}
	var all, failing []string
	for i := range requirements {
		r := &requirements[i]
		text := foundLabel(what, r.Key(), set)
		if slices.Contains(all, text) {
			continue
		}
		all = append(all, text)
		if !r.Matches(labels.Set(set)) {
			failing = append(failing, text+", wanted "+wanted(r))
		}
	}
	switch {
	case len(failing) > 0:
		return strings.Join(failing, "; ")
	case len(all) == 0:
		return "every " + what + " is selected"
	}
	return strings.Join(all, "; ")
}

func foundLabel(what, key string, set map[string]string) string {
	if v, ok := set[key]; ok {
		return fmt.Sprintf("%s label %s=%s", what, key, v)
	}
	return fmt.Sprintf("%s has no label %s", what, key)
}

// wanted says what a requirement asks for.
func wanted(r *labels.Requirement) string {
	values := strings.Join(r.ValuesUnsorted(), " or ")
	switch r.Operator() {
	case selection.In, selection.Equals, selection.DoubleEquals:
		return values
	case selection.NotIn, selection.NotEquals:
		return "any but " + values
	case selection.DoesNotExist:
		return "none"
	case selection.Exists:
		return "any"
	}
	return string(r.Operator()) + " " + values
}

// nearest returns whose rules would decide if an entry called: those of the default
// revision, else of the only one; empty for unknown.
func (a *attempt) nearest() string {
	if w := a.serving(defaultRevision); w != nil {
		return w.Revision
	}
	for _, w := range a.live {
		if w.Revision != a.live[0].Revision {
			return ""
		}
	}
	if len(a.live) == 0 {
		return ""
	}
	return a.live[0].Revision
}

const defaultRevision = "default"

// serving returns an entry that stands for the revision or tag, nil for none.
func (a *attempt) serving(revision string) *Webhook {
	for _, w := range a.live {
		if w.serves(revision) {
			return w
		}
	}
	return nil
}

// revisions lists the installed revisions and tags, sorted.
func (a *attempt) revisions() []string {
	var out []string
	for _, w := range a.live {
		for _, r := range []string{w.Revision, w.Tag} {
			if r != "" && !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
	}
	slices.Sort(out)
	return out
}

// asked returns the revision that a namespace's labels ask for; false for none.
func (a *attempt) asked() (string, bool) {
	if v, ok := a.q.Namespace.Labels[meta.Injection]; ok {
		return defaultRevision, v == "enabled"
	}
	v, ok := a.q.Namespace.Labels[meta.Revision]
	return v, ok
}
