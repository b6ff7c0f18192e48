package verify_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"testing"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

// every thins out the mutants, of which there are tens of thousands.
var every = flag.Int("every", 7, "try all mutants without a rule, and of the others one in so many")

// mutant is a plan with one thing changed.
type mutant struct {
	kind string // what was done
	what string // to which rule
	sets rule.Sets
}

// mutants are all plans that differ from sets in one of many ways.
func mutants(sets rule.Sets) []mutant {
	var out []mutant
	for _, t := range rule.Tables() {
		rules := sets[t].Rules
		change := func(kind string, i int, with ...rule.Rule) {
			m := mutant{kind: kind, what: string(t) + " " + rules[i].String(), sets: maps.Clone(sets)}
			m.sets[t] = rule.SetOf(slices.Concat(rules[:i], with, rules[i+1:]))
			out = append(out, m)
		}
		for i, r := range rules {
			change("delete", i)
			change("duplicate", i, r, r)
			if j := slices.IndexFunc(rules[i+1:], func(n rule.Rule) bool { return n.Chain == r.Chain }); j >= 0 {
				m := mutant{kind: "swap", what: string(t) + " " + r.String(), sets: maps.Clone(sets)}
				list := slices.Clone(rules)
				list[i], list[i+1+j] = list[i+1+j], list[i]
				m.sets[t] = rule.SetOf(list)
				out = append(out, m)
			}
			for kind, other := range alterations(r, sets[t].Chains) {
				change(kind, i, other)
			}
			for _, other := range rule.Tables() {
				if other != t {
					m := mutant{kind: "table", what: string(t) + " " + r.String(), sets: maps.Clone(sets)}
					m.sets[t] = rule.SetOf(slices.Delete(slices.Clone(rules), i, i+1))
					m.sets[other] = rule.SetOf(append(slices.Clone(sets[other].Rules), r))
					out = append(out, m)
				}
			}
		}
	}
	for i := range out {
		for _, t := range rule.Tables() { // chains stay, even without rules
			set := out[i].sets[t]
			for _, c := range sets[t].Chains {
				if !slices.Contains(set.Chains, c) {
					set.Chains = append(slices.Clip(set.Chains), c)
				}
			}
			if !set.Empty() {
				out[i].sets[t] = set
			}
		}
	}
	return slices.DeleteFunc(out, func(m mutant) bool { return loops(m.sets) || dangles(m.sets) })
}

// alterations are the rules that differ from r in one field.
func alterations(r rule.Rule, chains []rule.Chain) map[string]rule.Rule {
	out := map[string]rule.Rule{}
	for i, m := range r.Match {
		with := func(kind string, other ...rule.Match) {
			c := r
			c.Match = slices.Concat(r.Match[:i], other, r.Match[i+1:])
			out[fmt.Sprintf("%s %d", kind, i)] = c
		}
		with("condition less")
		with("negate", m.Negate())
		for kind, value := range otherValues(m) {
			if value != m.Value {
				with(kind, rule.Match{Key: m.Key, Not: m.Not, Value: value})
			}
		}
	}
	for _, c := range append(slices.Clone(chains), rule.Prerouting, rule.Output) {
		if c != r.Chain {
			other := r
			other.Chain = c
			out["chain "+string(c)] = other
		}
	}
	for kind, target := range otherTargets(r.Target, chains) {
		other := r
		other.Target = target
		out[kind] = other
	}
	return out
}

func otherValues(m rule.Match) map[string]string {
	n, _ := strconv.ParseUint(m.Value, 0, 32)
	plain := func(n uint64) string { return strconv.FormatUint(n, 10) }
	switch m.Key {
	case rule.Source, rule.Destination:
		p := netip.MustParsePrefix(m.Value)
		out := map[string]string{}
		if shorter, err := p.Addr().Prefix(p.Bits() - 1); err == nil && shorter.Bits() > 0 {
			out["range shorter"] = shorter.String()
		}
		if longer, err := p.Addr().Prefix(p.Bits() + 1); err == nil {
			out["range longer"] = longer.String()
		}
		return out
	case rule.InLink, rule.OutLink:
		return map[string]string{"interface": m.Value + "x", "interface eth0": "eth0"}
	case rule.Protocol:
		return map[string]string{"protocol": map[string]string{"tcp": "udp", "udp": "tcp"}[m.Value]}
	case rule.SourcePort, rule.DestPort:
		return map[string]string{"port more": plain(n + 1), "port less": plain(n - 1)}
	case rule.OwnerUID, rule.OwnerGID:
		return map[string]string{"owner": plain(n + 1), "owner 0": "0"}
	case rule.PacketMark, rule.ConnMark:
		return map[string]string{"mark": "0x" + strconv.FormatUint(n+1, 16), "mark less": "0x" + strconv.FormatUint(n-1, 16)}
	case rule.ConnState:
		return map[string]string{"state": "NEW"}
	case rule.ConnDir:
		return map[string]string{"direction": "REPLY"}
	case rule.Other:
	}
	return nil
}

func otherTargets(t rule.Target, chains []rule.Chain) map[string]rule.Target {
	out := map[string]rule.Target{"target return": rule.Return(), "target accept": rule.Accept(), "target drop": rule.Drop(), "target none": {}}
	for _, c := range chains {
		out["target "+string(c)] = rule.Jump(c)
	}
	delete(out, "target "+string(t.Chain))
	more := t
	switch t.Action {
	case rule.Redirects, rule.Diverts:
		more.Port++
		out["target port"] = more
		more = t
		more.Value++
		more.Family = rule.IPv4 + rule.IPv6 - t.Family
		if t.Action == rule.Diverts {
			out["target mark and family"] = more
		}
	case rule.Marks, rule.Zones:
		more.Value++
		out["target value"] = more
	case rule.KeepsMark:
		out["target takes"] = rule.TakeMark()
	case rule.TakesMark:
		out["target keeps"] = rule.KeepMark()
	case rule.Returns:
		delete(out, "target return")
	case rule.Drops:
		delete(out, "target drop")
	default:
	}
	return out
}

// loops reports whether chains call each other: the kernel does not take such rules.
func loops(sets rule.Sets) bool {
	for _, set := range sets {
		var visit func(c rule.Chain, depth int) bool
		visit = func(c rule.Chain, depth int) bool {
			if depth > len(set.Chains) {
				return true
			}
			for _, r := range set.In(c) {
				if r.Target.Action == rule.Jumps && visit(r.Target.Chain, depth+1) {
					return true
				}
			}
			return false
		}
		for _, c := range set.Chains {
			if visit(c, 0) {
				return true
			}
		}
	}
	return false
}

// dangles reports whether a rule jumps to a chain that is not there: the kernel does not take
// such rules.
func dangles(sets rule.Sets) bool {
	for _, set := range sets {
		for _, r := range set.Rules {
			if r.Target.Action == rule.Jumps && !slices.Contains(set.Chains, r.Target.Chain) {
				return true
			}
		}
	}
	return false
}

// tally counts what became of mutants.
type tally struct {
	made, killed int
	survivors    map[string]int // by what makes them equivalent
}

// judge lets the verifier loose on all mutants of one plan. Comparing finds all. The proof
// may pass only those that do to every packet what the plan does, which is tried with many.
func (n *tally) judge(t *testing.T, s subject, r *rand.Rand) {
	t.Helper()
	idle := map[string]bool{} // rules that no packet needs
	for i, m := range mutants(s.sets) {
		if m.kind != "delete" && i%*every != 0 {
			continue
		}
		n.made++
		if verify.Compare(s.sets, m.sets) == nil {
			t.Errorf("%s %q: not found by comparing", m.kind, m.what)
		}
		if !verify.Proven(s.config, s.family, rule.ListingOf(s.backend, m.sets)) {
			n.killed++
			continue
		}
		switch {
		case m.kind == "delete":
			idle[m.what] = true
			n.survivors["a rule that no packet needs is deleted"]++
		case idle[m.what]:
			n.survivors["a rule that no packet needs is changed"]++
		default:
			n.survivors[m.kind]++
		}
		s := s
		s.sets = m.sets
		if leak, ok := leaks(r, s); ok {
			t.Errorf("%+v\n%s %q passes the proof, but %s", s.config, m.kind, m.what, leak)
		}
	}
}

// TestMutants changes every rule of many plans in every way: no change that any packet
// notices passes the proof.
func TestMutants(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	try := func(n *tally, c capture.Config) {
		f, b := one(r, families...), one(r, backends...)
		n.judge(t, subject{c, f, b, plan.Build(c, f).Rules}, r)
	}
	options, random := &tally{survivors: map[string]int{}}, &tally{survivors: map[string]int{}}
	for _, line := range lines {
		try(options, parse(t, line))
	}
	for range 12 {
		try(random, randomConfig(r))
	}
	for name, n := range map[string]*tally{"options": options, "random": random} {
		t.Logf("%s: %d mutants, %d killed, %d equivalent", name, n.made, n.killed, n.made-n.killed)
		for _, kind := range slices.Sorted(maps.Keys(n.survivors)) {
			t.Logf("%s: equivalent: %4d × %s", name, n.survivors[kind], kind)
		}
		if n.killed*2 < n.made {
			t.Errorf("%s: fewer than half of the mutants are found", name)
		}
	}
}
