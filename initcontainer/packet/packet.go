// Package packet says what can be told of a packet on its way through the host, and what
// interception did to it: the vocabulary that intent (what is wanted), model (what rules
// do) and verify (whether both agree) share.
//
// There are two kinds of packets. A Packet is one, with a value for each property. A Class
// is a set of them: those whose every property lies in a given set of values. A Space cuts
// each property's values into atoms, between which nothing that looks at packets tells
// apart; so finitely many classes are all packets there are. Both kinds answer the same
// question, whether a property lies in a Set. A class may have to be cut in two for that.
//
// The package knows nothing of rules or settings. It is pure.
package packet

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Protocol is what the packet carries.
type Protocol uint8

// The protocols that rules tell apart.
const (
	Other Protocol = iota // no TCP and no UDP; it has no ports
	TCP
	UDP
)

// String is the name in lower case.
func (p Protocol) String() string { return [...]string{"other", "tcp", "udp"}[p] }

// State is what connection tracking says of a packet.
type State uint8

// The states. For what becomes of a connection, Opens are the packets that decide.
const (
	New         State = iota // first packet of a connection
	Related                  // first packet of a connection that another one announced
	Established              // later packet, sent by the side that opened the connection
	Answer                   // later packet, sent by the other side
	Invalid                  // fits no connection
	Untracked                // a rule exempted it from connection tracking
)

// String is the name in lower case.
func (s State) String() string {
	return [...]string{"new", "related", "established", "answer", "invalid", "untracked"}[s]
}

// Tracked reports whether the packet belongs to a connection.
func (s State) Tracked() bool { return s <= Answer }

// Nobody is the UID and GID of packets that no process sends: those that arrived, and those
// of the kernel's own.
const Nobody uint32 = 1<<32 - 1

// Lo is the interface by which the host talks to itself.
const Lo = rule.Lo

// Packet is one packet of a known family, where its way through the host begins: sent by a
// process of the host, or arrived by an interface other than lo. What is sent by lo comes in
// again by lo; that is the same way.
type Packet struct {
	Out string // interface it leaves by, by its destination; "" for packets that arrived
	In  string // interface it arrived by; "" for packets that are sent

	Protocol    Protocol
	Source      netip.Addr
	Destination netip.Addr
	SourcePort  uint16 // 0 for Other
	DestPort    uint16 // 0 for Other

	UID, GID uint32 // of the sending process, or Nobody for both
	Mark     uint32 // as the process set it; 0 for packets that arrived
	ConnMark uint32 // of its connection so far
	State    State
}

// View is a packet, or a class of them, that can be asked.
type View interface {
	// Is reports whether a property of the packet lies in s. The answers of one view do
	// not contradict each other. s must not be changed afterwards.
	Is(s *Set) bool
}

var _ View = Packet{}

// Is reports whether p's property lies in s.
func (p Packet) Is(s *Set) bool {
	return s.contains(p.point(s.of))
}

// String is the packet in words, such as "tcp 10.0.0.5:40000 → 192.0.2.7:80, sent by uid
// 1000 gid 1000 over eth0".
func (p Packet) String() string {
	var b strings.Builder
	b.WriteString(p.Protocol.String())
	b.WriteString(" " + p.end(p.Source, p.SourcePort) + " → " + p.end(p.Destination, p.DestPort))
	switch {
	case p.In != "":
		fmt.Fprintf(&b, ", arrived by %s", p.In)
	case p.UID == Nobody:
		fmt.Fprintf(&b, ", sent over %s by the kernel", p.Out)
	default:
		fmt.Fprintf(&b, ", sent over %s by uid %d gid %d", p.Out, p.UID, p.GID)
	}
	if p.State != New {
		fmt.Fprintf(&b, ", %s", p.State)
	}
	if p.Mark != 0 {
		fmt.Fprintf(&b, ", mark %d", p.Mark)
	}
	if p.ConnMark != 0 {
		fmt.Fprintf(&b, ", of a connection with mark %d", p.ConnMark)
	}
	return b.String()
}

func (p Packet) end(a netip.Addr, port uint16) string {
	if p.Protocol == Other {
		return a.String()
	}
	return netip.AddrPortFrom(a, port).String()
}

// point is the value of a property.
func (p Packet) point(k Property) point {
	switch k {
	case Out:
		return linkPoint(p.Out)
	case In:
		return linkPoint(p.In)
	case Carries:
		return number(uint32(p.Protocol))
	case Source:
		return addrPoint(p.Source)
	case Destination:
		return addrPoint(p.Destination)
	case SourcePort:
		return number(uint32(p.SourcePort))
	case DestPort:
		return number(uint32(p.DestPort))
	case UID:
		return number(p.UID)
	case GID:
		return number(p.GID)
	case Mark:
		return number(p.Mark)
	case ConnMark:
		return number(p.ConnMark)
	case Conn:
		return number(uint32(p.State))
	}
	return point{}
}
