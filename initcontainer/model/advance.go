package model

import (
	"fmt"

	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// advance takes a state that stands between base chains to the next one that it meets. It
// returns the state to go on with, nil where it came to an end or was put aside.
func (x *explorer) advance(s *state) *state {
	list := x.model.hooks[s.hook]
	if s.base+1 >= len(list) {
		return x.leave(s)
	}
	b := list[s.base+1]
	if b.Priority > rule.PriorityTrack {
		x.track(s)
	}
	s.base++
	if !b.Nat {
		x.enter(s, b)
		return s
	}
	if s.decided || s.again {
		x.note(s, b.Place, "not met: the connection has been decided")
		return s
	}
	x.split(s, x.model.fixed.first, func(s *state, first bool) {
		if first {
			x.enter(s, b)
		} else {
			x.note(s, b.Place, "not met: not the first packet of a connection")
		}
		x.later(s)
	})
	return nil
}

func (x *explorer) enter(s *state, b *base) {
	s.chain, s.next, s.calls, s.mark = b.chain, 0, s.calls[:0], s.now[packet.Mark]
}

// track looks up the packet's connection, if it has none yet.
func (x *explorer) track(s *state) {
	if s.tracked {
		return
	}
	s.tracked = true
	if int(s.now[packet.Conn]) != x.model.fixed.atoms[untracked] {
		s.now[packet.Conn] = asIs
	}
	if x.tracing {
		x.note(s, rule.Place{}, fmt.Sprintf("connection looked up in zone %d: %s", s.zone, x.state(s)))
	}
}

func (x *explorer) state(s *state) packet.State {
	if s.now[packet.Conn] != asIs {
		return packet.Untracked
	}
	return s.class.Example().State
}

// leave is what comes after the last base chain of a hook.
func (x *explorer) leave(s *state) *state {
	x.track(s)
	if s.hook == rule.AtPrerouting {
		x.end(s)
		return nil
	}
	x.split(s, x.model.fixed.overLo, func(s *state, over bool) {
		if !over {
			x.end(s)
			return
		}
		for _, v := range []value{noOut, inLo, noUser, noGroup} {
			x.set(s, v)
		}
		s.hook, s.base, s.again = rule.AtPrerouting, -1, true
		x.note(s, rule.Place{}, "comes in again over lo")
		x.later(s)
	})
	return nil
}

// meet lets s meet the next rule of its chain.
func (x *explorer) meet(s *state) *state {
	rules := s.chain.runs
	if x.tracing {
		rules = s.chain.rules
	}
	if s.next >= len(rules) {
		return x.fallOff(s, "end of chain")
	}
	r := rules[s.next]
	s.next++
	some, all := true, true
	for _, b := range r.conds {
		one, every := s.holds(b)
		some, all = some && one, all && every
	}
	if !some {
		x.step(s, r, false)
		return s
	}
	if all && !r.unsure {
		x.step(s, r, true)
		return x.act(s, r)
	}
	return x.part(s, r)
}

// part lets the packets of s that meet all conditions of r go its way and puts those aside
// that do not. Where a condition is not known, all may do either.
func (x *explorer) part(s *state, r *compiled) *state {
	if r.unsure {
		if r.action == goesOn {
			x.step(s, r, false)
			return s
		}
		rest := x.fork(s)
		s.unsure, rest.unsure = true, true
		x.step(rest, r, false)
		x.later(rest)
	}
	for _, b := range r.conds {
		some, all := s.holds(b)
		if !some || all {
			continue
		}
		if r.unsure && s.now[b.Of] != lost { // the rest has been put aside
			s.class = s.class.And(b)
			continue
		}
		x.split(s, b, func(part *state, in bool) {
			if !in {
				x.step(part, r, false)
				x.later(part)
			}
		})
	}
	x.step(s, r, true)
	return x.act(s, r)
}

// fallOff is the end of a chain: on in the calling one, or the policy of the base chain.
func (x *explorer) fallOff(s *state, why string) *state {
	n := len(s.calls) - 1
	if n < 0 {
		b := x.model.hooks[s.hook][s.base]
		if b.Drops {
			x.note(s, b.Place, why+": policy drops")
			return x.stop(s, packet.Dropped, nil)
		}
		return x.pass(s)
	}
	c := s.calls[n]
	s.calls = s.calls[:n]
	if c.unsure && c.changes == s.changes && !x.tracing {
		return nil // as if the chain had not been called: that way was put aside
	}
	x.note(s, s.chain.place, why+": back to "+string(c.chain.place.Chain))
	s.chain, s.next = c.chain, c.next
	return s
}

// pass ends a base chain.
func (x *explorer) pass(s *state) *state {
	b := x.model.hooks[s.hook][s.base]
	x.note(s, b.Place, "on to the next table")
	s.chain = nil
	if s.hook == rule.AtOutput && b.Priority == rule.PriorityMangle && x.model.routing.Marked {
		x.reroute(s)
	}
	return s
}

// reroute is what the kernel does after table mangle with what got another mark there on its
// way out: it looks for a route again.
func (x *explorer) reroute(s *state) {
	routed := x.model.fixed.routed
	now := s.now[packet.Mark]
	if now == s.mark || now < 0 || !routed.Has(int(now)) {
		return
	}
	if s.mark == asIs {
		switch some, all := s.class.Meets(routed); {
		case all: // it got the mark that it had
			return
		case some:
			same := x.fork(s)
			same.class, s.class = s.class.And(routed), s.class.Minus(routed)
			x.later(same)
		}
	}
	x.set(s, outLo)
	x.note(s, rule.Place{}, fmt.Sprintf("routed to this host by its mark %d", x.model.routing.Mark))
}

// stop ends the way at rule r.
func (x *explorer) stop(s *state, v packet.Verdict, r *compiled) *state {
	s.verdict, s.port, s.by = v, 0, r
	x.end(s)
	return nil
}

func (x *explorer) step(s *state, r *compiled, matched bool) {
	if !x.tracing {
		return
	}
	note := ""
	if s.unsure && r.unsure {
		note = "cannot tell whether it matches"
	}
	s.steps = append(s.steps, Step{Place: r.place, Rule: r.String(), Matched: matched, Note: note})
}

func (x *explorer) note(s *state, at rule.Place, text string) {
	if x.tracing {
		s.steps = append(s.steps, Step{Place: at, Note: text})
	}
}
