package nft

import (
	"encoding/binary"
	"strings"

	"github.com/google/nftables/expr"
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
	}
	return false
}

// only reports whether f has no other attributes than those.
func (f fields) only(kinds ...int) bool {
	var allowed uint32
	for _, k := range kinds {
		allowed |= 1 << k
	}
	for k, b := range f {
		if b != nil && allowed&(1<<k) == 0 {
			return false
		}
	}
	return true
}

// register is the one that an attribute names.
func (s *statement) register(f fields, kind int) (*source, bool) {
	n, ok := f.number(kind)
	if !ok || int(n) >= len(s.registers) || n == unix.NFT_REG_VERDICT {
		return nil, false
	}
	return &s.registers[n], true
}

// meta loads or sets what the kernel knows of the packet.
func (s *statement) meta(f fields) bool {
	key, ok := f.number(unix.NFTA_META_KEY)
	if to, loads := s.register(f, unix.NFTA_META_DREG); loads {
		*to = source{kind: "meta", key: key}
		return ok && f.only(unix.NFTA_META_KEY, unix.NFTA_META_DREG)
	}
	from, sets := s.register(f, unix.NFTA_META_SREG)
	if !ok || !sets || key != unix.NFT_META_MARK || !f.only(unix.NFTA_META_KEY, unix.NFTA_META_SREG) {
		return false
	}
	switch {
	case from.kind == "immediate" && len(from.data) == 4:
		return s.effect(rule.Mark(binary.NativeEndian.Uint32(from.data)))
	case from.kind == "ct" && from.key == unix.NFT_CT_MARK && from.mask == nil:
		return s.effect(rule.TakeMark())
	}
	return false
}

// ct loads or sets what the kernel knows of the packet's connection.
func (s *statement) ct(f fields) bool {
	key, ok := f.number(unix.NFTA_CT_KEY)
	if to, loads := s.register(f, unix.NFTA_CT_DREG); loads {
		*to = source{kind: "ct", key: key}
		return ok && f.only(unix.NFTA_CT_KEY, unix.NFTA_CT_DREG)
	}
	from, sets := s.register(f, unix.NFTA_CT_SREG)
	if !ok || !sets || !f.only(unix.NFTA_CT_KEY, unix.NFTA_CT_SREG) {
		return false
	}
	switch {
	case key == unix.NFT_CT_MARK && from.kind == "meta" && from.key == unix.NFT_META_MARK && from.mask == nil:
		return s.effect(rule.KeepMark())
	case key == unix.NFT_CT_ZONE && from.kind == "immediate" && len(from.data) >= 2:
		return s.effect(rule.Zone(binary.NativeEndian.Uint16(from.data)))
	}
	return false
}

// payload loads a part of a header.
func (s *statement) payload(f fields) bool {
	base, ok1 := f.number(unix.NFTA_PAYLOAD_BASE)
	offset, ok2 := f.number(unix.NFTA_PAYLOAD_OFFSET)
	size, ok3 := f.number(unix.NFTA_PAYLOAD_LEN)
	to, ok4 := s.register(f, unix.NFTA_PAYLOAD_DREG)
	if !ok1 || !ok2 || !ok3 || !ok4 ||
		!f.only(unix.NFTA_PAYLOAD_BASE, unix.NFTA_PAYLOAD_OFFSET, unix.NFTA_PAYLOAD_LEN, unix.NFTA_PAYLOAD_DREG) {
		return false
	}
	*to = source{kind: "network", key: offset, size: int(size)}
	switch base {
	case unix.NFT_PAYLOAD_NETWORK_HEADER:
	case unix.NFT_PAYLOAD_TRANSPORT_HEADER:
		to.kind = "transport"
	default:
		to.kind = ""
	}
	return true
}

// bitwise masks a register.
func (s *statement) bitwise(f fields) bool {
	from, ok1 := s.register(f, unix.NFTA_BITWISE_SREG)
	to, ok2 := s.register(f, unix.NFTA_BITWISE_DREG)
	mask, ok3 := value(f[unix.NFTA_BITWISE_MASK])
	xor, ok4 := value(f[unix.NFTA_BITWISE_XOR])
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return false
	}
	op, given := f.number(bitwiseOp)
	now := source{kind: from.kind, key: from.key, size: from.size, mask: mask}
	if from.mask != nil || given && op != 0 || strings.Trim(string(xor), "\x00") != "" {
		now.kind = ""
	}
	*to = now
	return true
}

// bitwiseOp is NFTA_BITWISE_OP, which newer kernels list; 0 is mask and xor.
const bitwiseOp = 6

// value is the content of an attribute with data.
func value(b []byte) ([]byte, bool) {
	f, ok := fieldsOf(b)
	return f[unix.NFTA_DATA_VALUE], ok && f[unix.NFTA_DATA_VALUE] != nil && f.only(unix.NFTA_DATA_VALUE)
}

// immediate loads a constant, or ends the rule with a verdict.
func (s *statement) immediate(f fields) bool {
	if to, ok := s.register(f, unix.NFTA_IMMEDIATE_DREG); ok {
		data, ok := value(f[unix.NFTA_IMMEDIATE_DATA])
		*to = source{kind: "immediate", data: data}
		return ok
	}
	d, _ := fieldsOf(f[unix.NFTA_IMMEDIATE_DATA])
	v, _ := fieldsOf(d[unix.NFTA_DATA_VERDICT])
	code, ok := v.number(unix.NFTA_VERDICT_CODE)
	if !ok {
		return false
	}
	switch expr.VerdictKind(int32(code)) {
	case expr.VerdictReturn:
		return s.effect(rule.Return())
	case expr.VerdictAccept:
		return s.effect(rule.Accept())
	case expr.VerdictDrop:
		return s.effect(rule.Drop())
	case expr.VerdictJump:
		return s.effect(rule.Jump(s.name(v.text(unix.NFTA_VERDICT_CHAIN))))
	case expr.VerdictContinue:
		return true
	case expr.VerdictGoto:
		return s.effect(foreign("-g " + v.text(unix.NFTA_VERDICT_CHAIN)))
	}
	return false
}

// knownRedirFlags is NF_NAT_RANGE_PROTO_SPECIFIED, which the kernel adds by itself.
const knownRedirFlags = 2

func (s *statement) redir(f fields) bool {
	from, ok := s.register(f, unix.NFTA_REDIR_REG_PROTO_MIN)
	if !ok || from.kind != "immediate" || len(from.data) < 2 {
		return false
	}
	// What it is given as the last port is the first one, when there is only one.
	first, _ := f.number(unix.NFTA_REDIR_REG_PROTO_MIN)
	last, ranged := f.number(unix.NFTA_REDIR_REG_PROTO_MAX)
	flags, _ := f.number(unix.NFTA_REDIR_FLAGS)
	if ranged && last != first || flags&^knownRedirFlags != 0 {
		return false
	}
	return s.effect(rule.RedirectTo(binary.BigEndian.Uint16(from.data)))
}

// tproxy hands the packet to a listener. It is a whole target only with the mark and the
// verdict that follow.
func (s *statement) tproxy(f fields) bool {
	from, ok := s.register(f, expr.NFTA_TPROXY_REG_PORT)
	family, known := f.number(expr.NFTA_TPROXY_FAMILY)
	if !ok || from.kind != "immediate" || len(from.data) < 2 || !f.only(expr.NFTA_TPROXY_FAMILY, expr.NFTA_TPROXY_REG_PORT) {
		return false
	}
	if known && family != uint32(familyNumber(s.family)) && family != unix.NFPROTO_UNSPEC {
		return false
	}
	s.passes = true
	return s.effect(rule.DivertTo(s.family, binary.BigEndian.Uint16(from.data), 0))
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
