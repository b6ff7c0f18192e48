package nft

import (
	"encoding/binary"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

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
