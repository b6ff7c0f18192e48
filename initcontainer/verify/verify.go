// Package verify compares the rules that the kernel holds with those that were planned.
//
// It compares structure, not text: iptables spells rules differently between versions and
// flavours. It changes nothing. Rules of others are not its matter.
package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Mismatch is the error for rules that are not as planned. It is not empty.
type Mismatch struct {
	Differences []string // each names the table and the chain or rule
}

// Error lists all differences.
func (m *Mismatch) Error() string {
	return "the kernel's rules are not as planned: " + strings.Join(m.Differences, "; ")
}

// Compare returns nil when got has the same chains and in each the same rules in the same
// order as want, in every table, else a *Mismatch. The order of chains does not count.
func Compare(want, got rule.Sets) error {
	var m Mismatch
	for _, t := range rule.Tables() {
		differences{&m, t}.between(want[t], got[t])
	}
	if len(m.Differences) == 0 {
		return nil
	}
	return &m
}

// differences adds those of one table to a Mismatch.
type differences struct {
	to    *Mismatch
	table rule.Table
}

func (d differences) between(want, got rule.Set) {
	for _, c := range got.Chains {
		if !slices.Contains(want.Chains, c) {
			d.add("extra chain %s", c)
		}
	}
	for _, c := range want.Chains {
		if !slices.Contains(got.Chains, c) {
			d.add("missing chain %s", c)
		}
	}
	for _, c := range chains(want, got) {
		d.chain(want.In(c), got.In(c))
	}
}

// chain compares the rules of one chain: first which there are, then their order.
func (d differences) chain(want, got []rule.Rule) {
	before := len(d.to.Differences)
	for _, r := range without(want, got) {
		d.add("missing rule %q", r)
	}
	for _, r := range without(got, want) {
		d.add("extra rule %q", r)
	}
	if len(d.to.Differences) > before {
		return
	}
	for i := range want {
		if !want[i].Equal(got[i]) {
			d.add("reordered rule %q: it stands where %q belongs", got[i], want[i])
			return // the rest follows from the first
		}
	}
}

func (d differences) add(format string, args ...any) {
	d.to.Differences = append(d.to.Differences, string(d.table)+": "+fmt.Sprintf(format, args...))
}

// without returns the rules of a that b lacks; a rule that a has more often than b is
// returned as often as it is in excess.
func without(a, b []rule.Rule) []rule.Rule {
	rest := slices.Clone(b)
	var out []rule.Rule
	for _, r := range a {
		if i := slices.IndexFunc(rest, r.Equal); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// chains lists every chain that has a rule in one of the sets, in order of appearance.
func chains(sets ...rule.Set) []rule.Chain {
	var out []rule.Chain
	for _, s := range sets {
		for _, r := range s.Rules {
			if !slices.Contains(out, r.Chain) {
				out = append(out, r.Chain)
			}
		}
	}
	return out
}
