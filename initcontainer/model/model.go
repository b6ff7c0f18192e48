// Package model is what the kernel does with packets under given rules.
//
// A Model takes classes of packets through the hooks at which interception happens: each
// base chain in order of priority, of every backend, with jumps, returns and policies. It
// holds what is easily missed:
//   - Nat is met by the first packet of a connection only, and the first rule to decide wins;
//     a packet that comes in again over lo is of a connection that has been decided.
//   - Connections are looked up between tables raw and mangle: conditions on them fail
//     before, except for what comes in again over lo. The first zone counts.
//   - Conditions on a packet's connection fail, negated or not, where it has none. So do, in
//     nftables only, negated conditions on the owner where there is none.
//   - A mark that changes on the way out is routed anew.
//
// Of rules of others, conditions and targets may be unknown: then both ways are gone, and
// what comes of them is unsure. The package knows neither plan nor intent. It is pure.
package model

import (
	"cmp"
	"slices"

	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Routing is what of the host's routing interception depends on.
type Routing struct {
	Mark   uint32 // packets that bear it belong to interception's inbound connections
	Marked bool   // they are routed to this host whatever their destination; else marks do not matter
}

// Model is the rules of one family in the form in which packets walk through them. It is
// not for concurrent use.
type Model struct {
	family  rule.Family
	routing Routing
	hooks   map[rule.Hook][]*base // in the order in which packets meet them
	chains  map[rule.Place]*chain
	marks   bool // some rule looks at marks or copies them

	space *packet.Space
	fixed *fixed
}

type base struct {
	rule.Base
	chain *chain
}

type chain struct {
	place rule.Place
	rules []*compiled
	runs  []*compiled // rules, with those joined that do the same to different packets
}

// compiled is a rule with its conditions as sets of packets.
type compiled struct {
	rule.Rule
	place  rule.Place
	sets   []*packet.Set
	conds  []packet.Bits
	action action
	to     *chain // of jumps
	unsure bool   // it has conditions that are not known
	word   string // of a foreign target: its name
}

// New returns the model of what l does to packets of family f.
func New(l rule.Listing, f rule.Family, routing Routing) *Model {
	m := &Model{
		family: f, routing: routing, hooks: map[rule.Hook][]*base{}, chains: map[rule.Place]*chain{}, fixed: newFixed(f, routing),
	}
	for place := range l.Rules {
		m.chains[place] = &chain{place: place}
	}
	for place, list := range l.Rules {
		c := m.chains[place]
		for _, r := range list {
			c.rules = append(c.rules, m.compile(place, r))
		}
	}
	for _, b := range l.Bases {
		c := m.chains[b.Place]
		if c == nil {
			c = &chain{place: b.Place}
		}
		m.hooks[b.Hook] = append(m.hooks[b.Hook], &base{b, c})
	}
	for _, list := range m.hooks {
		slices.SortStableFunc(list, inOrder)
	}
	return m
}

// inOrder compares chains of one hook by when packets meet them. Among those of the same
// priority the kernel goes by which was there first, which it does not tell: it is taken
// to be the one of others, as the rules of interception are written last.
func inOrder(a, b *base) int {
	ours := func(x *base) int {
		if slices.ContainsFunc(x.chain.rules, func(r *compiled) bool { return r.Owned() }) {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(ours(a), ours(b)),
		cmp.Compare(a.Backend, b.Backend), cmp.Compare(a.Table, b.Table))
}

// Sets is what a space must be made for to be walked.
func (m *Model) Sets() []*packet.Set {
	var out []*packet.Set
	for _, c := range m.chains {
		for _, r := range c.rules {
			out = append(out, r.sets...)
		}
	}
	return append(out, m.fixed.list()...)
}

// Marks reports whether marks matter to the rules.
func (m *Model) Marks() bool { return m.marks }

// Bind makes the model ready to walk the space, which must have been made for Sets.
func (m *Model) Bind(s *packet.Space) {
	m.space = s
	for _, c := range m.chains {
		for _, r := range c.rules {
			r.bind(s)
		}
		c.join()
	}
	m.fixed.bind(s)
}
