package link

import (
	"reflect"
	"slices"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/ir"
)

// Rule is a DestinationRule, or several of one namespace for one host merged. It is never
// modified.
type Rule struct {
	ir.DestinationRule
	// Origins are the objects that were merged, oldest first.
	Origins []problem.Origin
}

// MergeRules merges the rules for one host, oldest first in rules: those of one namespace
// and equal visibility become one. The oldest that has a policy gives it, subsets are
// joined, and of two subsets of one name the older counts.
// Source: Istio, merging of DestinationRules.
func MergeRules(rules []*ir.DestinationRule) ([]*Rule, []problem.Problem) {
	var out []*Rule
	var problems []problem.Problem
	for _, r := range rules {
		i := slices.IndexFunc(out, func(o *Rule) bool {
			return o.Namespace == r.Namespace && reflect.DeepEqual(o.ExportTo, r.ExportTo)
		})
		if i < 0 {
			first := &Rule{DestinationRule: *r, Origins: []problem.Origin{r.From}}
			first.Subsets = slices.Clone(r.Subsets)
			out = append(out, first)
			continue
		}
		problems = append(problems, out[i].join(r)...)
	}
	return out, problems
}

// join adds a younger rule to o, which is still being made.
func (o *Rule) join(r *ir.DestinationRule) (problems []problem.Problem) {
	o.Origins = append(o.Origins, r.From)
	switch {
	case r.Policy.Default == nil && len(r.Policy.Ports) == 0:
	case o.Policy.Default == nil && len(o.Policy.Ports) == 0:
		o.Policy = r.Policy
	default:
		problems = append(problems, problem.Problem{
			Origin: r.From, Path: "spec.trafficPolicy", Reason: "RuleConflict",
			Message: "the older " + o.From.String() + " sets the policy of this host; this one is ignored, move it there",
		})
	}
	for _, s := range r.Subsets {
		if slices.ContainsFunc(o.Subsets, func(t ir.Subset) bool { return t.Name == s.Name }) {
			problems = append(problems, problem.Problem{
				Origin: r.From, Path: "spec.subsets", Reason: "RuleConflict",
				Message: "the older " + o.From.String() + " has a subset " + s.Name + "; this one is ignored, rename it",
			})
			continue
		}
		o.Subsets = append(o.Subsets, s)
	}
	return problems
}

// Subset returns the subset of that name.
func (o *Rule) Subset(name string) (ir.Subset, bool) {
	if o == nil {
		return ir.Subset{}, false
	}
	for _, s := range o.Subsets {
		if s.Name == name {
			return s, true
		}
	}
	return ir.Subset{}, false
}

// For is the policy of a port of a subset, or of the whole service when subset is empty.
// A nil rule has the zero policy.
func (o *Rule) For(subset string, port uint16) ir.TrafficPolicy {
	if o == nil {
		return ir.TrafficPolicy{}
	}
	if s, ok := o.Subset(subset); ok && (s.Policy.Default != nil || len(s.Policy.Ports) > 0) {
		return s.Policy.For(port)
	}
	return o.Policy.For(port)
}
