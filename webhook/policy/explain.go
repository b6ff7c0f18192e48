package policy

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
)

// Gate says who tried a rule.
type Gate string

// The two gates, in their order.
const (
	APIServer Gate = "api-server" // selectors and conditions of the webhook configurations
	Injector  Gate = "injector"   // the injector's own rules
)

// Outcome is what trying a rule led to.
type Outcome string

// The outcomes.
const (
	Passed       Outcome = "passed"        // does not stand in the way
	Missed       Outcome = "missed"        // this entry is out; another may call
	Calls        Outcome = "calls"         // the API server asks the injector
	Injects      Outcome = "injects"       // decides for injection
	Refuses      Outcome = "refuses"       // decides against
	NotReached   Outcome = "not-reached"   // an earlier rule decided
	NotEvaluated Outcome = "not-evaluated" // cannot be tried here
	Warns        Outcome = "warns"         // does not decide, but is worth knowing
)

// Step is one rule that was tried.
type Step struct {
	Gate Gate `json:"gate"`
	// Webhook is the entry, "configuration/entry", that the rule belongs to or that asked the
	// injector; empty for none.
	Webhook string  `json:"webhook,omitempty"`
	Rule    string  `json:"rule"`
	Outcome Outcome `json:"outcome"`
	// Reason is set where the step decides or warns.
	Reason Reason `json:"reason,omitempty"`
	// Found is what was looked at.
	Found string `json:"found"`
	// Remedy is what to change; empty where nothing is wrong.
	Remedy string `json:"remedy,omitempty"`
}

// Question is what Explain is asked.
type Question struct {
	// Pod is the pod as it was or would be created; its namespace may be empty.
	Pod *corev1.Pod
	// Namespace is where it is created.
	Namespace Namespace
	// Webhooks are the cluster's, in the order of calling.
	Webhooks []Webhook
	// RulesOf returns the settings of a revision's injector; false where they are not known.
	RulesOf func(revision string) (Rules, bool)
}

// Namespace is what the API server's gate looks at beside the pod.
type Namespace struct {
	Name   string
	Labels map[string]string
}

// Explanation is the decision of both gates, and how it came about.
type Explanation struct {
	// Decision is the outcome: Inject is true when both gates say yes, and Reason is the
	// first that says no, else the injector's for yes.
	Decision Decision
	// Webhook is the entry that calls, the last one where several do: its injection holds.
	// Nil when the API server does not ask.
	Webhook *Webhook
	// Steps lists the rules in the order of trying. When the API server does not ask, the
	// injector's follow all the same: they tell whether a remedy of the first gate is enough.
	Steps []Step
}

// Explain walks both gates. With RulesUnknown as the reason, the API server asks an
// injector whose settings are not known here, and Inject is false.
func Explain(q Question) Explanation {
	e := Explanation{}
	e.Decision, e.Webhook = walk(q, &e.Steps)
	return e
}

// Settle is Explain without the steps, for callers with many pods: the decision, and the
// entry that calls.
func Settle(q Question) (Decision, *Webhook) { return walk(q, nil) }

// walk tries both gates and notes each step where the caller wants them.
func walk(q Question, steps *[]Step) (Decision, *Webhook) {
	q.Namespace.Labels = withName(q.Namespace)
	a := &attempt{q: &q, steps: steps}
	calling := a.tryWebhooks()
	f := gather(q.Pod, q.Namespace.Name, Rules{})
	if len(calling) > 0 {
		return a.ask(f, calling)
	}
	refusal := a.refusal()
	a.note(refusal)
	if rules, known := a.rulesOf(a.nearest()); known && steps != nil {
		f.rules = rules
		*steps = append(*steps, f.steps("")...)
	}
	return f.decision(false, refusal.Reason), nil
}

// ask lets the injectors decide that are called, one after the other: a later one injects
// again what an earlier one has injected, and leaves it so when it says no itself.
func (a *attempt) ask(f facts, calling []*Webhook) (Decision, *Webhook) {
	var decision Decision
	var by *Webhook
	for _, w := range calling {
		rules, known := a.rulesOf(w.Revision)
		d := f.decision(false, RulesUnknown)
		if known {
			f.rules = rules
			row := f.deciding()
			d = f.decision(row.inject, row.reason)
		}
		switch {
		case a.steps == nil:
		case known:
			*a.steps = append(*a.steps, f.steps(w.String())...)
		default:
			a.note(rulesUnknown(w))
		}
		if d.Inject || !decision.Inject {
			decision, by = d, w
		}
	}
	return decision, by
}

func (a *attempt) rulesOf(revision string) (Rules, bool) {
	if a.q.RulesOf == nil || revision == "" {
		return Rules{}, false
	}
	return a.q.RulesOf(revision)
}

// withName adds the label that the API server gives each namespace.
func withName(n Namespace) map[string]string {
	if n.Name == "" || n.Labels[corev1.LabelMetadataName] != "" {
		return n.Labels
	}
	out := maps.Clone(n.Labels)
	if out == nil {
		out = map[string]string{}
	}
	out[corev1.LabelMetadataName] = n.Name
	return out
}

func rulesUnknown(w *Webhook) Step {
	return Step{
		Gate: Injector, Webhook: w.String(), Rule: "the injector's settings are known", Outcome: NotEvaluated, Reason: RulesUnknown,
		Found:  "revision " + w.Revision + " is asked, its settings are not at hand",
		Remedy: "ask with access to its ConfigMaps",
	}
}
