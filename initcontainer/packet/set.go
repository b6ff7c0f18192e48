package packet

import (
	"cmp"
	"encoding/binary"
	"math"
	"net/netip"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Property is what can be asked of a packet.
type Property uint8

// The properties; see the fields of Packet.
const (
	Out Property = iota
	In
	Carries
	Source
	Destination
	SourcePort
	DestPort
	UID
	GID
	Mark
	ConnMark
	Conn
)

// Properties is how many there are.
const Properties = int(Conn) + 1

// point is a value of any property: numbers as they are, addresses as 128 bits, names of
// interfaces as their bytes. Points are ordered as values are, so that prefixes of addresses
// and of names are spans.
type point struct{ hi, lo uint64 }

func (a point) less(b point) bool { return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo }

func (a point) compare(b point) int {
	return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo))
}

// next is the point after a; there must be one.
func (a point) next() point {
	a.lo++
	if a.lo == 0 {
		a.hi++
	}
	return a
}

// before is the point before a; there must be one.
func (a point) before() point {
	if a.lo == 0 {
		a.hi--
	}
	a.lo--
	return a
}

func number(n uint32) point { return point{lo: uint64(n)} }

func addrPoint(a netip.Addr) point {
	b := a.As16()
	return point{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (a point) addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
	return netip.AddrFrom16(b).Unmap()
}

// linkPoint takes the kernel's names of interfaces, at most 15 bytes.
func linkPoint(name string) point {
	var b [16]byte
	copy(b[:], name)
	return point{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (a point) link() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
	n := 0
	for n < len(b) && b[n] > 0 && b[n] < 0x7f {
		n++
	}
	return string(b[:n])
}

// span is all points from first to last, both included.
type span struct{ first, last point }

// Set is some values of one property. It is not changed once made.
type Set struct {
	of    Property
	not   bool // all but the spans
	spans []span
}

// Not is the set of all other values.
func (s Set) Not() Set {
	s.not = !s.not
	return s
}

func (s *Set) contains(p point) bool {
	for _, x := range s.spans {
		if !p.less(x.first) && !x.last.less(p) {
			return !s.not
		}
	}
	return s.not
}

// LeavesBy is the packets that leave by one of the named interfaces. A name that ends in
// "+" stands for all that begin so. The name "" stands for packets that do not leave.
func LeavesBy(names ...string) Set { return links(Out, names) }

// ArrivedBy is the packets that arrived by one of the named interfaces; names as for
// LeavesBy. The name "" stands for packets that are sent.
func ArrivedBy(names ...string) Set { return links(In, names) }

func links(of Property, names []string) Set {
	s := Set{of: of}
	for _, name := range names {
		first := linkPoint(name)
		last := first
		if n := len(name) - 1; n >= 0 && name[n] == '+' {
			first = linkPoint(name[:n])
			last = lastLink(name[:n])
			if n == 0 { // any interface, but there must be one
				first = first.next()
			}
		}
		s.spans = append(s.spans, span{first, last})
	}
	return s
}

// lastLink is the last name that begins with prefix.
func lastLink(prefix string) point {
	var b [16]byte
	for i := copy(b[:], prefix); i < len(b); i++ {
		b[i] = 0xff
	}
	return point{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// From is the packets from one of the ranges.
func From(ranges ...netip.Prefix) Set { return prefixes(Source, ranges) }

// To is the packets to one of the ranges.
func To(ranges ...netip.Prefix) Set { return prefixes(Destination, ranges) }

// Loopback is the packets to addresses of family f that only lo leads to.
func Loopback(f rule.Family) Set {
	if f == rule.IPv6 {
		return To(netip.MustParsePrefix("::1/128"))
	}
	return To(netip.MustParsePrefix("127.0.0.0/8"))
}

func prefixes(of Property, ranges []netip.Prefix) Set {
	s := Set{of: of}
	for _, r := range ranges {
		first := addrPoint(r.Masked().Addr())
		s.spans = append(s.spans, span{first, lastOf(first, 128-(r.Addr().BitLen()-r.Bits()))})
	}
	return s
}

// lastOf is the last point that shares the first n bits with a.
func lastOf(a point, n int) point {
	switch {
	case n < 64:
		a.hi |= math.MaxUint64 >> n
		a.lo = math.MaxUint64
	case n < 128:
		a.lo |= math.MaxUint64 >> (n - 64)
	}
	return a
}

// FromPorts is the packets from one of the ports.
func FromPorts(list ...uint16) Set { return numbers(SourcePort, list) }

// ToPorts is the packets to one of the ports.
func ToPorts(list ...uint16) Set { return numbers(DestPort, list) }

// OfUsers is the packets sent by processes of one of the users.
func OfUsers(list ...uint32) Set { return numbers(UID, list) }

// OfGroups is the packets sent by processes of which one of the groups is the primary one.
func OfGroups(list ...uint32) Set { return numbers(GID, list) }

// Marked is the packets with one of the marks.
func Marked(list ...uint32) Set { return numbers(Mark, list) }

// OfMarked is the packets of connections with one of the marks.
func OfMarked(list ...uint32) Set { return numbers(ConnMark, list) }

// Carrying is the packets of one of the protocols.
func Carrying(list ...Protocol) Set { return numbers(Carries, list) }

// InState is the packets in one of the states.
func InState(list ...State) Set { return numbers(Conn, list) }

func numbers[T ~uint8 | ~uint16 | ~uint32](of Property, list []T) Set {
	s := Set{of: of}
	for _, n := range list {
		s.spans = append(s.spans, span{number(uint32(n)), number(uint32(n))})
	}
	return s
}

// Between is the packets whose property, which must be a number, lies between first and
// last, both included.
func Between(of Property, first, last uint32) Set {
	return Set{of: of, spans: []span{{number(first), number(last)}}}
}
