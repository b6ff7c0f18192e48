package model

import (
	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Way is where packets of a class end, all in the same manner.
type Way struct {
	Class   packet.Class
	Outcome packet.Outcome
	// Unsure says that conditions or targets on the way are not known; there are other ways
	// for the same packets.
	Unsure bool
	Steps  []Step // of Trace only

	by *compiled // the rule that decided, nil for none
}

// By is the rule that decided where the packets go, "" where none did. Of Explore it is the
// first of some that do the same to different packets.
func (w Way) By() string {
	if w.by == nil {
		return ""
	}
	return w.by.place.String() + " " + w.by.String()
}

// Foreign reports whether a rule of others decided.
func (w Way) Foreign() bool { return w.by != nil && !w.by.Owned() }

// Step is one rule or event on a way.
type Step struct {
	Place   rule.Place // the zero Place for what the kernel does between chains
	Rule    string     // as iptables writes it; "" for the end of a chain and other events
	Matched bool
	Note    string // why the packet went on as it did
}

// maxSteps bounds the work of one exploration; the kernel's rules are foreign input.
const maxSteps = 20_000_000

// Explore takes class c, which must not be empty, through the hooks and calls yield for
// each part of it that ends in one manner. Together the parts are c; they do not overlap but for
// unsure ones. It ends early when yield returns false, and reports whether the whole class
// was explored; it gives up on rules without measure.
func (m *Model) Explore(c packet.Class, yield func(Way) bool) bool {
	x := &explorer{model: m, yield: yield, steps: maxSteps}
	x.begin(c)
	return x.run()
}

// Trace is the ways that class c takes, with each step. It is for classes of one packet.
func (m *Model) Trace(c packet.Class) []Way {
	var out []Way
	x := &explorer{model: m, steps: maxSteps, tracing: true, yield: func(w Way) bool {
		out = append(out, w)
		return len(out) < maxTraces
	}}
	x.begin(c)
	x.run()
	return out
}

// maxTraces is how many ways of one packet are worth showing.
const maxTraces = 16

// given says for each property that it is as the class says, or else which atom it has got
// on the way.
type given [packet.Properties]int32

const (
	asIs  int32 = -1
	lost  int32 = -2 // not known any more
	depth       = 32 // of jumps; the kernel refuses loops
)

// state is a class of packets at one point of the way.
type state struct {
	class packet.Class
	now   given

	hook    rule.Hook
	base    int // index among those of the hook
	chain   *chain
	next    int // index of the rule to be met
	calls   []call
	mark    int32 // at the beginning of the base chain
	tracked bool  // connections have been looked up
	again   bool  // it came in again over lo
	decided bool  // nat has been
	changes int   // of marks, zones and the like, so far
	unsure  bool

	verdict packet.Verdict
	port    uint16
	zone    uint16
	zoned   bool
	by      *compiled
	steps   []Step
}

// call is a chain to be come back to.
type call struct {
	chain   *chain
	next    int
	unsure  bool // it may not have been called at all
	changes int
}

// explorer works off the states that are left.
type explorer struct {
	model   *Model
	yield   func(Way) bool
	todo    []*state
	free    []*state
	steps   int
	tracing bool
	stopped bool
}

func (x *explorer) begin(c packet.Class) {
	s := &state{class: c}
	for i := range s.now {
		s.now[i] = asIs
	}
	x.split(s, x.model.fixed.sent, func(s *state, sent bool) {
		s.hook = rule.AtPrerouting
		if sent {
			s.hook = rule.AtOutput
		}
		x.set(s, asInvalid) // until connections are looked up
		s.base = -1
		x.todo = append(x.todo, s)
	})
}

// run walks all states to their ends.
func (x *explorer) run() bool {
	for len(x.todo) > 0 && !x.stopped {
		s := x.todo[len(x.todo)-1]
		x.todo = x.todo[:len(x.todo)-1]
		for s != nil && !x.stopped {
			x.steps--
			if x.steps < 0 {
				return false
			}
			if s.chain == nil {
				s = x.advance(s)
			} else {
				s = x.meet(s)
			}
		}
	}
	return !x.stopped
}

// fork is a copy of s.
func (x *explorer) fork(s *state) *state {
	var out *state
	if n := len(x.free); n > 0 {
		out, x.free = x.free[n-1], x.free[:n-1]
	} else {
		out = new(state)
	}
	calls := out.calls[:0]
	*out = *s
	out.calls = calls
	out.calls = append(out.calls, s.calls...)
	out.steps = append([]Step(nil), s.steps...)
	return out
}

// later puts a state aside.
func (x *explorer) later(s *state) { x.todo = append(x.todo, s) }

// set gives a property a value.
func (x *explorer) set(s *state, v value) { s.now[v.of] = int32(x.model.fixed.atoms[v]) }

// holds reports whether a property lies in b for some packets of s, and for all of them.
func (s *state) holds(b packet.Bits) (some, all bool) {
	switch at := s.now[b.Of]; at {
	case asIs:
		return s.class.Meets(b)
	case lost:
		return true, false
	default:
		in := b.Has(int(at))
		return in, in
	}
}

// split calls yield with the part of s that lies in b and with the part that does not, if
// there are such.
func (x *explorer) split(s *state, b packet.Bits, yield func(s *state, in bool)) {
	some, all := s.holds(b)
	if some == all {
		yield(s, all)
		return
	}
	rest := x.fork(s)
	if s.now[b.Of] == lost {
		s.unsure, rest.unsure = true, true
	} else {
		rest.class = s.class.Minus(b)
		s.class = s.class.And(b)
	}
	yield(s, true)
	yield(rest, false)
}

// end yields s as a way.
func (x *explorer) end(s *state) {
	f := x.model.fixed
	if s.verdict == packet.Dropped || s.verdict == packet.Taken || !x.model.routing.Marked {
		x.give(s, packet.Outcome{})
		return
	}
	x.split(s, f.routed, func(s *state, routed bool) {
		var out packet.Outcome
		if routed {
			out.Bearing = packet.Inward
		}
		x.split(s, f.ofRouted, func(s *state, inbound bool) {
			out := out
			out.Inbound = inbound
			x.give(s, out)
		})
	})
}

func (x *explorer) give(s *state, out packet.Outcome) {
	if x.stopped {
		return
	}
	out.Verdict, out.Port, out.Zone = s.verdict, s.port, s.zone
	w := Way{Class: s.class, Outcome: out, Unsure: s.unsure, by: s.by, Steps: s.steps}
	if !x.yield(w) {
		x.stopped = true
	}
	if !x.tracing {
		x.free = append(x.free, s)
	}
}
