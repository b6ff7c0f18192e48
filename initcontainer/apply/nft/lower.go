package nft

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// register is the one that all expressions of a rule share, one after the other.
const register = unix.NFT_REG_1

// lower says a rule in the kernel's expressions, one list for each rule that it takes
// there. It fails on what no plan contains.
//
// A rule that hands packets to a listener takes two: the kernel's expression, other than
// iptables' TPROXY, lets packets go on where nobody listens. The second drops them.
func lower(f rule.Family, r rule.Rule) ([][]expr.Any, error) {
	when, err := conditions(f, r.Match)
	if err != nil {
		return nil, fmt.Errorf("rule %q: %w", r, err)
	}
	when = append(when, &expr.Counter{})
	then, err := consequence(f, r.Target)
	if err != nil {
		return nil, fmt.Errorf("rule %q: %w", r, err)
	}
	out := [][]expr.Any{append(when, then...)}
	if r.Target.Action == rule.Diverts {
		n := len(when)
		out = append(out, append(when[:n:n], &expr.Verdict{Kind: expr.VerdictDrop}))
	}
	return out, nil
}

// conditions says matches in the order given, but what the packet's protocol is comes
// first: ports mean nothing before that is known.
func conditions(f rule.Family, matches []rule.Match) ([]expr.Any, error) {
	out := make([]expr.Any, 0, 3*len(matches)+4)
	var last rule.Key // what the register holds
	for _, protocol := range []bool{true, false} {
		for _, m := range matches {
			if (m.Key == rule.Protocol) != protocol {
				continue
			}
			e, err := condition(f, m)
			if err != nil {
				return nil, err
			}
			// The kernel takes 128 expressions in a rule: what the register holds already is
			// not loaded again, so that a list of groups fits.
			if m.Key == last && (m.Key == rule.OwnerUID || m.Key == rule.OwnerGID) {
				e = e[1:]
			}
			last = m.Key
			out = append(out, e...)
		}
	}
	return out, nil
}

// condition loads what a match is about and compares it.
func condition(f rule.Family, m rule.Match) ([]expr.Any, error) {
	switch m.Key { //exhaustive:enforce
	case rule.Source, rule.Destination:
		return address(f, m)
	case rule.InLink:
		return link(expr.MetaKeyIIFNAME, m)
	case rule.OutLink:
		return link(expr.MetaKeyOIFNAME, m)
	case rule.Protocol:
		number, ok := map[string]byte{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP}[m.Value]
		if ok {
			return []expr.Any{load(expr.MetaKeyL4PROTO), compare(m.Not, []byte{number})}, nil
		}
	case rule.SourcePort:
		return port(0, m)
	case rule.DestPort:
		return port(2, m)
	case rule.OwnerUID:
		return number(load(expr.MetaKeySKUID), m, 10)
	case rule.OwnerGID:
		return number(load(expr.MetaKeySKGID), m, 10)
	case rule.PacketMark:
		return number(load(expr.MetaKeyMARK), m, 0)
	case rule.ConnMark:
		return number(&expr.Ct{Key: expr.CtKeyMARK, Register: register}, m, 0)
	case rule.ConnState:
		return state(m)
	case rule.ConnDir:
		direction, ok := map[string]byte{"ORIGINAL": 0, "REPLY": 1}[m.Value]
		if ok {
			return []expr.Any{&expr.Ct{Key: expr.CtKeyDIRECTION, Register: register}, compare(m.Not, []byte{direction})}, nil
		}
	case rule.Other:
	}
	return nil, fmt.Errorf("nftables has no way to say %q", m.Value)
}

func load(key expr.MetaKey) expr.Any { return &expr.Meta{Key: key, Register: register} }

func compare(not bool, data []byte) expr.Any {
	op := expr.CmpOpEq
	if not {
		op = expr.CmpOpNeq
	}
	return &expr.Cmp{Op: op, Register: register, Data: data}
}

// native is a number as the kernel holds it in a register.
func native(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// number compares what a loads with the number of the match.
func number(a expr.Any, m rule.Match, base int) ([]expr.Any, error) {
	n, err := strconv.ParseUint(m.Value, base, 32)
	return []expr.Any{a, compare(m.Not, native(uint32(n)))}, err
}

// port compares one of the two ports, which TCP and UDP have at the same places.
func port(offset uint32, m rule.Match) ([]expr.Any, error) {
	n, err := strconv.ParseUint(m.Value, 10, 16)
	return []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2, DestRegister: register},
		compare(m.Not, binary.BigEndian.AppendUint16(nil, uint16(n))),
	}, err
}

// linkNameSize is that of the kernel's names of interfaces, the byte of zero at the end included.
const linkNameSize = unix.IFNAMSIZ

// link compares an interface's name; one that ends in "+" is how others begin.
func link(key expr.MetaKey, m rule.Match) ([]expr.Any, error) {
	name, more := strings.CutSuffix(m.Value, "+")
	if name == "" || len(name) >= linkNameSize {
		return nil, fmt.Errorf("%q is no name of an interface", m.Value)
	}
	data := make([]byte, linkNameSize)
	copy(data, name)
	if more {
		data = data[:len(name)]
	}
	return []expr.Any{load(key), compare(m.Not, data)}, nil
}

// addressAt is where the addresses stand in an IP header.
func addressAt(f rule.Family, k rule.Key) (offset, size int) {
	offset, size = 12, 4
	if f == rule.IPv6 {
		offset, size = 8, 16
	}
	if k == rule.Destination {
		offset += size
	}
	return offset, size
}

// address compares the part of an address that a range fixes.
func address(f rule.Family, m rule.Match) ([]expr.Any, error) {
	p, err := netip.ParsePrefix(m.Value)
	if err != nil {
		return nil, err
	}
	offset, size := addressAt(f, m.Key)
	if p.Addr().BitLen() != 8*size || p.Bits() == 0 {
		return nil, fmt.Errorf("%s is no part of the %s addresses", p, f)
	}
	fixed := p.Masked().Addr().AsSlice()
	whole := p.Bits()%8 == 0
	if whole {
		fixed = fixed[:p.Bits()/8]
	}
	out := []expr.Any{&expr.Payload{
		Base: expr.PayloadBaseNetworkHeader, Offset: uint32(offset), Len: uint32(len(fixed)), DestRegister: register,
	}}
	if !whole {
		out = append(out, masked(maskOf(p.Bits(), size)))
	}
	return append(out, compare(m.Not, fixed)), nil
}

// maskOf is a mask of size bytes whose first bits are set.
func maskOf(bits, size int) []byte {
	out := make([]byte, size)
	for i := range bits {
		out[i/8] |= 0x80 >> (i % 8)
	}
	return out
}

// masked keeps the bits of the register that are set in mask.
func masked(mask []byte) expr.Any {
	return &expr.Bitwise{
		SourceRegister: register, DestRegister: register,
		Len: uint32(len(mask)), Mask: mask, Xor: make([]byte, len(mask)),
	}
}

// connState is a state that a packet's connection can be in.
type connState struct {
	name string
	bit  uint32
}

// connStates lists them in the order in which iptables does.
func connStates() []connState {
	return []connState{
		{"INVALID", expr.CtStateBitINVALID}, {"NEW", expr.CtStateBitNEW}, {"RELATED", expr.CtStateBitRELATED},
		{"ESTABLISHED", expr.CtStateBitESTABLISHED}, {"UNTRACKED", expr.CtStateBitUNTRACKED},
	}
}

// state asks whether the connection is in one of the named states.
func state(m rule.Match) ([]expr.Any, error) {
	var bits uint32
	for name := range strings.SplitSeq(m.Value, ",") {
		known := false
		for _, s := range connStates() {
			if s.name == name {
				bits, known = bits|s.bit, true
			}
		}
		if !known {
			return nil, fmt.Errorf("%q is no state of a connection", name)
		}
	}
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: register}, masked(native(bits)), compare(!m.Not, native(0)),
	}, nil
}

// consequence says what happens to a packet that matches.
func consequence(f rule.Family, t rule.Target) ([]expr.Any, error) {
	switch t.Action { //exhaustive:enforce
	case rule.Returns:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}, nil
	case rule.Accepts:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}, nil
	case rule.Drops:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}, nil
	case rule.Jumps:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chainName(t.Chain)}}, nil
	case rule.Redirects:
		return []expr.Any{
			constant(binary.BigEndian.AppendUint16(nil, t.Port)), &expr.Redir{RegisterProtoMin: register},
		}, nil
	case rule.Diverts:
		if t.Family == f {
			return []expr.Any{
				constant(binary.BigEndian.AppendUint16(nil, t.Port)),
				&expr.TProxy{Family: familyNumber(f), TableFamily: familyNumber(f), RegPort: register},
				constant(native(t.Value)), store(expr.MetaKeyMARK),
				&expr.Verdict{Kind: expr.VerdictAccept},
			}, nil
		}
	case rule.Marks:
		return []expr.Any{constant(native(t.Value)), store(expr.MetaKeyMARK)}, nil
	case rule.KeepsMark:
		return []expr.Any{load(expr.MetaKeyMARK), &expr.Ct{Key: expr.CtKeyMARK, Register: register, SourceRegister: true}}, nil
	case rule.TakesMark:
		return []expr.Any{&expr.Ct{Key: expr.CtKeyMARK, Register: register}, store(expr.MetaKeyMARK)}, nil
	case rule.Zones:
		zone := binary.NativeEndian.AppendUint16(nil, uint16(t.Value))
		return []expr.Any{constant(zone), &expr.Ct{Key: expr.CtKeyZONE, Register: register, SourceRegister: true}}, nil
	case rule.Nothing, rule.Foreign:
	}
	return nil, fmt.Errorf("nftables has no way to say %q", t)
}

func constant(data []byte) expr.Any { return &expr.Immediate{Register: register, Data: data} }

func store(key expr.MetaKey) expr.Any {
	return &expr.Meta{Key: key, Register: register, SourceRegister: true}
}
