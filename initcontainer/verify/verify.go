// Package verify compares the rules that the kernel holds with those that were planned.
//
// It compares structure, not text: iptables spells rules differently between versions and
// flavours. It changes nothing. Rules of others are not its matter.
package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Reader lists what of the interception the kernel holds.
type Reader interface {
	Read(context.Context) (rule.Set, error)
}

// Mismatch is the error for rules that are not as planned. It is not empty.
type Mismatch struct {
	Differences []string // each names the chain and the rule
}

// Error lists all differences.
func (m *Mismatch) Error() string {
	return "the kernel's rules are not as planned: " + strings.Join(m.Differences, "; ")
}

// Check reads the kernel and compares it with want. The error is a *Mismatch where the
// rules differ, another where they could not be read.
func Check(ctx context.Context, kernel Reader, want rule.Set) error {
	got, err := kernel.Read(ctx)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return Compare(want, got)
}

// Compare returns nil when got has the same chains and in each the same rules in the same
// order as want, else a *Mismatch. The order of chains does not count.
func Compare(want, got rule.Set) error {
	var m Mismatch
	for _, c := range got.Chains {
		if !slices.Contains(want.Chains, c) {
			m.add("extra chain %s", c)
		}
	}
	for _, c := range want.Chains {
		if !slices.Contains(got.Chains, c) {
			m.add("missing chain %s", c)
		}
	}
	for _, c := range chains(want, got) {
		m.chain(want.In(c), got.In(c))
	}
	if len(m.Differences) == 0 {
		return nil
	}
	return &m
}

// chain compares the rules of one chain: first which there are, then their order.
func (m *Mismatch) chain(want, got []rule.Rule) {
	before := len(m.Differences)
	for _, r := range without(want, got) {
		m.add("missing rule %q", r)
	}
	for _, r := range without(got, want) {
		m.add("extra rule %q", r)
	}
	if len(m.Differences) > before {
		return
	}
	for i := range want {
		if !want[i].Equal(got[i]) {
			m.add("reordered rule %q: it stands where %q belongs", got[i], want[i])
			return // the rest follows from the first
		}
	}
}

func (m *Mismatch) add(format string, args ...any) {
	m.Differences = append(m.Differences, fmt.Sprintf(format, args...))
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
