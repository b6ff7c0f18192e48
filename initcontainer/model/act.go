package model

import (
	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// act lets rule r do with s, which matches it, what it does.
func (x *explorer) act(s *state, r *compiled) *state {
	switch r.action {
	case goesOn:
		return s
	case returns:
		return x.fallOff(s, "returned")
	case accepts:
		s.by = r
		return x.pass(s)
	case drops:
		return x.stop(s, packet.Dropped, r)
	case takes:
		return x.stop(s, packet.Taken, r)
	case unknown:
		rest := x.fork(s)
		s.unsure, rest.unsure = true, true
		x.later(rest)
		return x.stop(s, packet.Taken, r)
	case jumps, moves:
		return x.jump(s, r)
	case redirects:
		return x.redirect(s, r)
	case diverts:
		return x.divert(s, r)
	case marks:
		s.changes++
		x.set(s, value{packet.Mark, r.Target.Value})
		return s
	case confuses:
		s.changes++
		s.now[packet.Mark], s.now[packet.ConnMark] = lost, lost
		return s
	case keepsMark:
		return x.copyMark(s, packet.Mark, packet.ConnMark)
	case takesMark:
		return x.copyMark(s, packet.ConnMark, packet.Mark)
	case zones, untracks:
		return x.template(s, r)
	}
	return s
}

func (x *explorer) jump(s *state, r *compiled) *state {
	if len(s.calls) >= depth { // the kernel does not take such rules
		s.unsure = true
		return x.stop(s, packet.Taken, r)
	}
	if r.action == jumps {
		s.calls = append(s.calls, call{s.chain, s.next, r.unsure, s.changes})
	}
	s.chain, s.next = r.to, 0
	return s
}

// redirect rewrites the destination. Only nat can: elsewhere, the kernel does not take
// the rule.
func (x *explorer) redirect(s *state, r *compiled) *state {
	if !x.model.hooks[s.hook][s.base].Nat {
		return x.stop(s, packet.Dropped, r)
	}
	s.verdict, s.port, s.by, s.decided = packet.Redirected, r.Target.Port, r, true
	x.set(s, value{packet.DestPort, uint32(r.Target.Port)})
	if s.hook == rule.AtOutput {
		x.set(s, localhost)
		x.set(s, outLo)
	}
	return x.pass(s)
}

// divert gives the packet to a listener's socket, which later tables do not change. Only
// mangle in PREROUTING can.
func (x *explorer) divert(s *state, r *compiled) *state {
	b := x.model.hooks[s.hook][s.base]
	if s.hook != rule.AtPrerouting || b.Nat || !s.tracked || !x.ofFamily(r) {
		return x.stop(s, packet.Dropped, r)
	}
	s.changes++
	s.verdict, s.port, s.by = packet.Diverted, r.Target.Port, r
	x.set(s, value{packet.Mark, r.Target.Value})
	return x.pass(s)
}

// copyMark gives the mark of the packet to its connection or the other way round, if it
// has one.
func (x *explorer) copyMark(s *state, from, to packet.Property) *state {
	s.changes++
	x.split(s, x.model.fixed.tracked, func(s *state, tracked bool) {
		switch {
		case !tracked:
			x.later(s)
		case s.now[from] != asIs:
			s.now[to] = s.now[from]
			x.later(s)
		default:
			s.class.Each(from, func(atom int, part packet.Class) {
				one := x.fork(s)
				one.class, one.now[to] = part, int32(atom)
				x.later(one)
			})
		}
	})
	return nil
}

// template chooses how the connection is to be looked up: once, and not after it has been.
func (x *explorer) template(s *state, r *compiled) *state {
	if s.tracked || s.zoned {
		return s
	}
	s.changes++
	s.zoned = true
	if r.action == untracks {
		s.by = r
		x.set(s, untracked)
	} else {
		s.zone = uint16(r.Target.Value)
	}
	return s
}

func (x *explorer) ofFamily(r *compiled) bool { return r.Target.Family == x.model.family }
