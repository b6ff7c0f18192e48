package nft

import (
	"encoding/binary"
	"strings"

	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// raiser says what the kernel lists as rules. What it does not understand becomes a match
// or a target that is in no plan: a rule is only as planned when every expression of it,
// every attribute of each included, is understood. (So it does not use the decoder of
// google/nftables, which leaves out what it does not know.)
type raiser struct {
	family rule.Family
	chain  rule.Chain
	name   func(string) rule.Chain // what a chain that is jumped to is called
}

// rules says all rules of a chain, but those that no packet of the family can match.
func (r raiser) rules(list []listed) []rule.Rule {
	out := make([]rule.Rule, 0, len(list))
	open := false   // the last rule diverts, and packets for which nobody listens go on
	var s statement // one for all: it is large
	for _, l := range list {
		s = statement{raiser: r, rule: rule.Rule{Chain: r.chain}, effects: s.effects[:0]}
		s.comment(l.userdata)
		s.read(l.expressions)
		if s.never {
			continue
		}
		now := s.finish()
		if open {
			last := &out[len(out)-1]
			if closes(*last, now) {
				open = false
				continue
			}
			last.Target = foreign("tproxy")
		}
		open = s.passes && now.Target.Action == rule.Diverts
		out = append(out, now)
	}
	if open {
		out[len(out)-1].Target = foreign("tproxy")
	}
	return out
}

// closes reports whether drop throws away all packets that divert lets go on.
func closes(divert, drop rule.Rule) bool {
	drop.Target, divert.Target = divert.Target, drop.Target
	return divert.Target.Action == rule.Drops && drop.Equal(rule.Rule{
		Chain: divert.Chain, Match: divert.Match, Target: drop.Target, Why: divert.Why,
	})
}

func foreign(text string) rule.Target { return rule.Target{Action: rule.Foreign, Text: text} }

// source is what a register holds.
type source struct {
	kind string // the expression that loaded it; "" if unknown
	key  uint32 // of meta and ct; where in which header, for payload
	size int    // of payload, in bytes
	data []byte // of immediate
	mask []byte // nil when not masked
}

// statement reads the expressions of one rule, one after the other.
type statement struct {
	raiser
	rule      rule.Rule
	never     bool // no packet of the family matches
	registers [32]source
	effects   []rule.Target
	late      bool // a condition stands behind an effect
	passes    bool // an expression tproxy was met, which lets packets go on where nobody listens
}

func (s *statement) comment(data []byte) {
	if len(data) < 2 || len(data) != 2+int(data[1]) || data[0] != byte(userdata.TypeComment) {
		return
	}
	text, _ := userdata.GetString(data, userdata.TypeComment)
	s.rule.Why, _ = rule.WhyOf(text)
}

// read takes a list of expressions.
func (s *statement) read(b []byte) {
	for len(b) >= attrHeader {
		size := int(binary.NativeEndian.Uint16(b))
		if size < attrHeader || size > len(b) {
			break
		}
		f, ok := fieldsOf(b[attrHeader:size])
		name := f.text(unix.NFTA_EXPR_NAME)
		data, known := fieldsOf(f[unix.NFTA_EXPR_DATA])
		if !ok || !known || !s.expression(name, data) {
			s.unknown(name)
		}
		b = b[min(aligned(size), len(b)):]
	}
	if len(b) > 0 {
		s.unknown("incomplete")
	}
}

// unknown takes an expression that may be a condition or an effect, or both.
func (s *statement) unknown(name string) {
	s.match(rule.Match{Key: rule.Other, Value: name})
	s.effects = append(s.effects, foreign(name))
}

func (s *statement) match(m rule.Match) {
	s.late = s.late || len(s.effects) > 0
	s.rule.Match = append(s.rule.Match, m)
}

// other takes an expression that is a condition, or loads a register for one.
func (s *statement) other(name string) bool {
	s.match(rule.Match{Key: rule.Other, Value: name})
	s.registers = [len(s.registers)]source{}
	return true
}

func (s *statement) effect(t rule.Target) bool {
	s.effects = append(s.effects, t)
	return true
}

// expression takes one; false when it is not understood.
func (s *statement) expression(name string, f fields) bool {
	switch name {
	case "counter", "log", "last":
		return true
	case "meta":
		return s.meta(f)
	case "ct":
		return s.ct(f)
	case "payload":
		return s.payload(f)
	case "bitwise":
		return s.bitwise(f)
	case "cmp":
		return s.cmp(f)
	case "immediate":
		return s.immediate(f)
	case "redir":
		return s.redir(f)
	case "tproxy":
		return s.tproxy(f)
	case "match", "target":
		return s.compat(name, f)
	case "lookup":
		return f[unix.NFTA_LOOKUP_DREG] == nil && s.other(name)
	case "range", "limit", "quota", "connlimit", "fib", "rt", "socket", "osf", "exthdr", "hash", "numgen", "tunnel", "xfrm", "byteorder":
		return s.other(name)
	case "notrack": // no condition: what it keeps from nat is known to leak
		return s.effect(foreign(name))
	}
	return false
}

// finish makes one target of the effects.
func (s *statement) finish() rule.Rule {
	e := s.effects
	switch {
	case s.late:
		s.rule.Target = foreign(texts(e))
	case len(e) == 0:
	case len(e) == 1 && !s.passes:
		s.rule.Target = e[0]
	case len(e) == 3 && s.passes && e[0].Action == rule.Diverts && e[1].Action == rule.Marks && e[2].Action == rule.Accepts:
		s.rule.Target = rule.DivertTo(s.family, e[0].Port, e[1].Value)
	default:
		s.rule.Target = foreign(texts(e))
	}
	return s.rule
}

func texts(ts []rule.Target) string {
	words := make([]string, len(ts))
	for i, t := range ts {
		words[i] = t.String()
	}
	return strings.Join(words, ", ")
}
