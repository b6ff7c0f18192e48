package nft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// cmp compares a register with a constant.
func (s *statement) cmp(f fields) bool {
	from, ok := s.register(f, unix.NFTA_CMP_SREG)
	op, given := f.number(unix.NFTA_CMP_OP)
	data, valued := value(f[unix.NFTA_CMP_DATA])
	if !ok || !given || !valued || !f.only(unix.NFTA_CMP_SREG, unix.NFTA_CMP_OP, unix.NFTA_CMP_DATA) {
		return false
	}
	not := expr.CmpOp(op) == expr.CmpOpNeq
	if not || expr.CmpOp(op) == expr.CmpOpEq {
		if s.always(*from, not, data) {
			return true
		}
		if m, ok := s.condition(*from, not, data); ok {
			s.match(m)
			return true
		}
	}
	s.match(rule.Match{Key: rule.Other, Not: not, Value: fmt.Sprintf("%s %d op %d %x", from.kind, from.key, op, data)})
	return true
}

// always reports whether the comparison holds for every packet of the family, and notes
// when it holds for none: rules of tables for both families say which they are for.
func (s *statement) always(from source, not bool, data []byte) bool {
	if from.kind != "meta" || len(data) != 1 || from.mask != nil {
		return false
	}
	var of byte
	switch from.key {
	case unix.NFT_META_NFPROTO:
		of = familyNumber(s.family)
	default:
		return false
	}
	s.never = s.never || (data[0] == of) == not
	return true
}

// condition says a comparison as a match.
func (s *statement) condition(from source, not bool, data []byte) (rule.Match, bool) {
	m := rule.Match{Not: not}
	ok := false
	switch from.kind {
	case "meta":
		m.Key, m.Value, ok = metaCondition(from, data)
	case "ct":
		m, ok = connCondition(from, not, data)
	case "network":
		m.Key, m.Value, ok = s.rangeCondition(from, data)
	case "transport":
		m.Key, m.Value, ok = s.portCondition(from, data)
	}
	return m, ok
}

func metaCondition(from source, data []byte) (k rule.Key, value string, ok bool) {
	switch from.key {
	case unix.NFT_META_MARK:
		value, ok = markValue(from, data)
		return rule.PacketMark, value, ok
	case unix.NFT_META_L4PROTO:
		if len(data) == 1 && from.mask == nil {
			return rule.Protocol, protocolName(data[0]), true
		}
	case unix.NFT_META_SKUID, unix.NFT_META_SKGID:
		k = rule.OwnerUID
		if from.key == unix.NFT_META_SKGID {
			k = rule.OwnerGID
		}
		if len(data) == 4 && from.mask == nil {
			return k, strconv.FormatUint(uint64(binary.NativeEndian.Uint32(data)), 10), true
		}
	case unix.NFT_META_IIFNAME, unix.NFT_META_OIFNAME:
		value, ok = linkName(from, data)
		k = rule.InLink
		if from.key == unix.NFT_META_OIFNAME {
			k = rule.OutLink
		}
		return k, value, ok
	case unix.NFT_META_IIF, unix.NFT_META_OIF:
		k = rule.InLink
		if from.key == unix.NFT_META_OIF {
			k = rule.OutLink
		}
		ok = len(data) == 4 && binary.NativeEndian.Uint32(data) == loopbackIndex && from.mask == nil
		return k, rule.Lo, ok
	}
	return 0, "", false
}

// loopbackIndex is the number of interface lo in every namespace.
const loopbackIndex = 1

func protocolName(n byte) string {
	switch n {
	case unix.IPPROTO_TCP:
		return "tcp"
	case unix.IPPROTO_UDP:
		return "udp"
	}
	return strconv.Itoa(int(n))
}

// linkName is a whole name when the byte of zero is compared, too, else how names begin.
func linkName(from source, data []byte) (string, bool) {
	name, rest, whole := bytes.Cut(data, []byte{0})
	if from.mask != nil || len(name) == 0 || strings.Trim(string(rest), "\x00") != "" {
		return "", false
	}
	if !whole {
		return string(name) + "+", true
	}
	return string(name), true
}

func markValue(from source, data []byte) (string, bool) {
	if len(data) != 4 {
		return "", false
	}
	out := "0x" + strconv.FormatUint(uint64(binary.NativeEndian.Uint32(data)), 16)
	switch len(from.mask) {
	case 0:
		return out, true
	case 4:
		return out + "/0x" + strconv.FormatUint(uint64(binary.NativeEndian.Uint32(from.mask)), 16), true
	}
	return "", false
}

// connCondition says a comparison with something of the packet's connection.
func connCondition(from source, not bool, data []byte) (rule.Match, bool) {
	m := rule.Match{Not: not}
	ok := false
	switch from.key {
	case unix.NFT_CT_MARK:
		m.Key = rule.ConnMark
		m.Value, ok = markValue(from, data)
	case unix.NFT_CT_DIRECTION:
		m.Key, m.Value = rule.ConnDir, "ORIGINAL"
		ok = len(data) == 1 && data[0] <= 1 && from.mask == nil
		if ok && data[0] == 1 {
			m.Value = "REPLY"
		}
	case unix.NFT_CT_STATE:
		m.Key = rule.ConnState
		bits := data
		// A mask and "not zero" asks for any of its bits, a comparison for exactly one state.
		if from.mask != nil {
			bits, m.Not = from.mask, !not
			ok = len(data) == 4 && binary.NativeEndian.Uint32(data) == 0
		} else {
			ok = len(data) == 4
		}
		if ok {
			m.Value, ok = stateNames(bits, from.mask != nil)
		}
	}
	return m, ok
}

// stateNames lists the states of a set of bits; more than one only where any counts.
func stateNames(data []byte, any bool) (string, bool) {
	if len(data) != 4 {
		return "", false
	}
	set := binary.NativeEndian.Uint32(data)
	if !any && bits.OnesCount32(set) != 1 {
		return "", false
	}
	var names []string
	for _, s := range connStates() {
		if set&s.bit != 0 {
			names, set = append(names, s.name), set&^s.bit
		}
	}
	return strings.Join(names, ","), set == 0 && len(names) > 0
}

// rangeCondition says a comparison with an address, or with how one begins.
func (s *statement) rangeCondition(from source, data []byte) (k rule.Key, value string, ok bool) {
	for _, k := range []rule.Key{rule.Source, rule.Destination} {
		offset, size := addressAt(s.family, k)
		if int(from.key) != offset || from.size > size || len(data) != from.size {
			continue
		}
		length := 8 * from.size
		if from.mask != nil {
			if length, ok = maskLength(from.mask); !ok || len(from.mask) != from.size {
				return 0, "", false
			}
		}
		whole := make([]byte, size)
		copy(whole, data)
		addr, _ := netip.AddrFromSlice(whole)
		p := netip.PrefixFrom(addr, length)
		return k, p.String(), p == p.Masked() && length > 0
	}
	return 0, "", false
}

// maskLength is how many bits a mask has, where all of them stand at its beginning.
func maskLength(mask []byte) (int, bool) {
	n := 0
	for _, b := range mask {
		n += bits.OnesCount8(b)
	}
	return n, bytes.Equal(mask, maskOf(n, len(mask)))
}

// portCondition says a comparison with a port, in a rule that is for TCP or UDP alone.
func (s *statement) portCondition(from source, data []byte) (k rule.Key, value string, ok bool) {
	switch {
	case len(data) != 2 || from.size != 2 || from.mask != nil:
		return 0, "", false
	case from.key == 0:
		k = rule.SourcePort
	case from.key == 2:
		k = rule.DestPort
	default:
		return 0, "", false
	}
	for _, m := range s.rule.Match {
		if m == rule.TCP() || m == rule.UDP() {
			return k, strconv.Itoa(int(binary.BigEndian.Uint16(data))), true
		}
	}
	return 0, "", false
}
