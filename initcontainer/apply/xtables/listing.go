package xtables

import (
	"fmt"
	"strings"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// parseListing reads the output of a save program. Tables without a hook at which
// interception happens are left out.
func parseListing(b rule.Backend, save string) (rule.Listing, error) {
	l := rule.Listing{Rules: map[rule.Place][]rule.Rule{}}
	var table rule.Table
	for line := range strings.Lines(save) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "*"); ok {
			table = rule.Table(name)
		}
		switch {
		case rule.Bases(b, table) == nil:
		case strings.HasPrefix(line, ":"):
			addChain(&l, b, table, line[1:])
		case strings.HasPrefix(line, "-A "):
			r, err := rule.Parse(line)
			if err != nil {
				return rule.Listing{}, fmt.Errorf("table %s: %w", table, err)
			}
			at := rule.Place{Backend: b, Table: string(table), Chain: r.Chain}
			l.Rules[at] = append(l.Rules[at], r)
		}
	}
	return l, nil
}

// addChain reads a chain's line, "NAME POLICY [COUNTERS]"; private chains have policy "-".
func addChain(l *rule.Listing, b rule.Backend, t rule.Table, line string) {
	name, rest, _ := strings.Cut(line, " ")
	at := rule.Place{Backend: b, Table: string(t), Chain: rule.Chain(name)}
	l.Rules[at] = nil
	for _, base := range rule.Bases(b, t) {
		if base.Place == at {
			base.Drops = strings.HasPrefix(rest, "DROP")
			l.Bases = append(l.Bases, base)
		}
	}
}

// owned is what of a listing belongs to the interception in the tables of backend b.
func owned(l rule.Listing, b rule.Backend) rule.Sets {
	out := rule.Sets{}
	for place, rules := range l.Rules {
		t := rule.Table(place.Table)
		if place.Backend != b || rule.Bases(b, t) == nil {
			continue
		}
		set := out[t]
		if place.Chain.Private() {
			set.Chains = append(set.Chains, place.Chain)
		}
		for _, r := range rules {
			if r.Owned() {
				set.Rules = append(set.Rules, r)
			}
		}
		if !set.Empty() {
			out[t] = set
		}
	}
	return out
}
