package policy

import (
	"fmt"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluicemesh/sluice/internal/meta"
)

// rule is a row of the injector's table.
type rule struct {
	reason Reason
	inject bool
	asks   string             // the statement that is tried
	holds  func(facts) bool   // whether it is true
	found  func(facts) string // what was looked at
	remedy func(facts) string // what to change where the row refuses; nil where it injects
}

// injectorRules is the injector's table: the first row that holds decides. The order is
// part of the contract with users' clusters.
//
// Source: Istio, policy of the injection webhook.
func injectorRules() [9]rule {
	return [9]rule{
		{HostNetwork, false, "the pod uses the node's network", onHost, foundHost, remedyHost},
		{IgnoredNamespace, false, "the namespace belongs to the cluster", inIgnored, foundNamespace, remedyNamespace},
		// A broken policy refuses even an explicit wish.
		{PolicyUnknown, false, "the policy is neither enabled nor disabled", policyUnknown, foundPolicy, remedyUnknown},
		{PodOptedIn, true, "the pod asks for injection", optedIn, foundChoice, nil},
		{PodOptedOut, false, "the pod refuses injection", optedOut, foundChoice, remedyOut},
		{NeverSelected, false, "neverInjectSelector matches", neverSelected, foundNever, remedyNever},
		{AlwaysSelected, true, "alwaysInjectSelector matches", alwaysSelected, foundAlways, nil},
		{PolicyEnabled, true, "the policy is enabled", policyEnabled, foundPolicy, nil},
		{PolicyDisabled, false, "the policy is disabled", always, foundPolicy, remedyDisabled},
	}
}

func onHost(f facts) bool         { return f.pod.Spec.HostNetwork }
func inIgnored(f facts) bool      { return ignored(f.namespace) }
func policyUnknown(f facts) bool  { return f.rules.Policy != Enabled && f.rules.Policy != Disabled }
func optedIn(f facts) bool        { return f.choice == "true" }
func optedOut(f facts) bool       { return f.choice == "false" }
func neverSelected(f facts) bool  { return firstMatch(f.rules.Never, f.pod.Labels) != nil }
func alwaysSelected(f facts) bool { return firstMatch(f.rules.Always, f.pod.Labels) != nil }
func policyEnabled(f facts) bool  { return f.rules.Policy == Enabled }
func always(facts) bool           { return true }

func foundHost(f facts) string {
	if f.pod.Spec.HostNetwork {
		return "spec.hostNetwork is true"
	}
	return "spec.hostNetwork is not set"
}

func foundNamespace(f facts) string {
	if f.namespace == "" {
		return "the namespace is not known"
	}
	return "the namespace is " + f.namespace
}

func foundPolicy(f facts) string { return fmt.Sprintf("the policy is %q", string(f.rules.Policy)) }

// foundChoice names the pod's wish as the injector reads it.
func foundChoice(f facts) string {
	label, labelled := f.pod.Labels[meta.Inject]
	annotation, annotated := f.pod.Annotations[meta.Inject]
	switch {
	case labelled && annotated:
		return words("label", label) + "; the annotation beside it is not read"
	case labelled:
		return words("label", label)
	case annotated:
		return words("annotation", annotation)
	}
	return "neither label nor annotation " + meta.Inject
}

// words quotes a wish, and says what becomes of one that is none.
func words(kind, value string) string {
	text := kind + " " + meta.Inject + "=" + value
	switch value {
	case "true", "false":
		return text
	case "":
		return text + " is empty, the default holds"
	}
	return text + " is neither true nor false, the default holds"
}

func foundNever(f facts) string  { return foundSelector(f.rules.Never, f) }
func foundAlways(f facts) string { return foundSelector(f.rules.Always, f) }

func foundSelector(selectors []labels.Selector, f facts) string {
	if s := firstMatch(selectors, f.pod.Labels); s != nil {
		return fmt.Sprintf("selector %q matches", s.String())
	}
	if len(selectors) == 0 {
		return "there is no selector"
	}
	return fmt.Sprintf("none of %d matches", len(selectors))
}

func remedyHost(facts) string {
	return "remove spec.hostNetwork: on the node's network, interception would capture the whole node's traffic"
}

func remedyNamespace(f facts) string {
	return "run the pod in another namespace: " + f.namespace + " belongs to the cluster and is never injected"
}

func remedyUnknown(facts) string {
	return "set global.proxy.autoInject to enabled or disabled; until then nothing is injected"
}

// remedyOut names the label even for an annotation, which it overrides and which only the
// injector reads.
func remedyOut(f facts) string {
	if _, ok := f.pod.Labels[meta.Inject]; ok {
		return "remove the pod's label " + meta.Inject + ", or set it to true"
	}
	return "remove the pod's annotation " + meta.Inject + ", or set the label of that name to true"
}

func remedyNever(facts) string {
	return "change the pod's labels or neverInjectSelector, or label the pod " + meta.Inject + "=true"
}

func remedyDisabled(facts) string {
	return "label the pod " + meta.Inject + "=true, or set global.proxy.autoInject to enabled"
}

// decided is the step of the row that decides.
func (r rule) decided(f facts) Step {
	s := r.step(f, Injects)
	s.Reason = r.reason
	if !r.inject {
		s.Outcome = Refuses
		s.Remedy = r.remedy(f)
	}
	return s
}

func (r rule) step(f facts, o Outcome) Step {
	return Step{Gate: Injector, Rule: r.asks, Outcome: o, Found: r.found(f)}
}

// steps walks the whole table: rows before the deciding one did not stand in the way, rows
// after it are not reached. webhook is the entry that asks.
func (f facts) steps(webhook string) []Step {
	var out []Step
	table := injectorRules()
	reached := true
	for i := range table {
		row := &table[i]
		switch {
		case !reached:
			out = append(out, row.step(f, NotReached))
		case row.holds(f):
			out = append(out, row.decided(f))
			reached = false
		default:
			out = append(out, row.step(f, Passed))
		}
		out[i].Webhook = webhook
	}
	return out
}
