package plan

import (
	"slices"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// tidy takes out of a table's rules those that no packet notices: what stands behind a rule
// that takes every packet, returns at the end of a chain, jumps to empty chains, and chains
// that nothing leads to. The result may share rules with the argument, which stays as it is.
func tidy(rules []rule.Rule) []rule.Rule {
	rules = slices.Clone(rules)
	for {
		before := len(rules)
		rules = behindAll(rules)
		rules = idleReturns(rules)
		rules = deadEnds(rules)
		if len(rules) == before {
			return rules
		}
	}
}

// behindAll takes out what no packet of its chain reaches.
func behindAll(rules []rule.Rule) []rule.Rule {
	closed := map[rule.Chain]bool{}
	return slices.DeleteFunc(rules, func(r rule.Rule) bool {
		if closed[r.Chain] {
			return true
		}
		ends := r.Target.Action == rule.Returns || r.Target.Action == rule.Drops
		closed[r.Chain] = ends && len(r.Match) == 0
		return false
	})
}

// idleReturns takes out those at the end of private chains: packets return there anyway.
func idleReturns(rules []rule.Rule) []rule.Rule {
	more := map[rule.Chain]bool{}
	for i, r := range slices.Backward(rules) {
		if r.Target == rule.Return() && r.Chain.Private() && !more[r.Chain] {
			rules = slices.Delete(rules, i, i+1)
			continue
		}
		more[r.Chain] = true
	}
	return rules
}

// deadEnds takes out jumps to chains without rules and chains that are not jumped to.
func deadEnds(rules []rule.Rule) []rule.Rule {
	filled, reached := map[rule.Chain]bool{}, map[rule.Chain]bool{}
	for _, r := range rules {
		filled[r.Chain] = true
		reached[r.Target.Chain] = true
	}
	return slices.DeleteFunc(rules, func(r rule.Rule) bool {
		return r.Target.Action == rule.Jumps && !filled[r.Target.Chain] || r.Chain.Private() && !reached[r.Chain]
	})
}
