package model

import (
	"net/netip"

	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// fixed is the sets of packets that walks ask about whatever the rules are, and the values
// that properties get on the way.
type fixed struct {
	sets struct {
		sent, first, tracked, overLo packet.Set
		routed, ofRouted             packet.Set // the mark of inbound connections
		values                       map[value]*packet.Set
	}
	sent, first, tracked, overLo packet.Bits
	routed, ofRouted             packet.Bits
	atoms                        map[value]int
}

// value is one that a property gets on the way.
type value struct {
	of packet.Property
	n  uint32 // for those of Out, In and Destination see the constants
}

// The values that are not numbers.
var (
	noOut     = value{packet.Out, 0}
	outLo     = value{packet.Out, 1}
	inLo      = value{packet.In, 1}
	localhost = value{packet.Destination, 1}
	noUser    = value{packet.UID, packet.Nobody}
	noGroup   = value{packet.GID, packet.Nobody}
	asInvalid = value{packet.Conn, uint32(packet.Invalid)}
	untracked = value{packet.Conn, uint32(packet.Untracked)}
)

func newFixed(f rule.Family, routing Routing) *fixed {
	x := &fixed{atoms: map[value]int{}}
	x.sets.sent = packet.ArrivedBy("")
	x.sets.first = packet.InState(packet.New, packet.Related)
	x.sets.tracked = trackedSet()
	x.sets.overLo = packet.LeavesBy(packet.Lo)
	x.sets.routed, x.sets.ofRouted = packet.Marked(routing.Mark), packet.OfMarked(routing.Mark)
	home := netip.MustParsePrefix("127.0.0.1/32") // to which the kernel redirects what is sent
	if f == rule.IPv6 {
		home = netip.MustParsePrefix("::1/128")
	}
	x.sets.values = map[value]*packet.Set{}
	for v, s := range map[value]packet.Set{
		noOut:     packet.LeavesBy(""),
		outLo:     packet.LeavesBy(packet.Lo),
		inLo:      packet.ArrivedBy(packet.Lo),
		localhost: packet.To(home),
		noUser:    packet.OfUsers(packet.Nobody),
		noGroup:   packet.OfGroups(packet.Nobody),
		asInvalid: packet.InState(packet.Invalid),
		untracked: packet.InState(packet.Untracked),
	} {
		x.sets.values[v] = &s
	}
	return x
}

// target notes the values that a rule's target gives.
func (x *fixed) target(t rule.Target) {
	var s packet.Set
	var v value
	switch t.Action {
	case rule.Redirects:
		v, s = value{packet.DestPort, uint32(t.Port)}, packet.ToPorts(t.Port)
	case rule.Marks, rule.Diverts:
		v, s = value{packet.Mark, t.Value}, packet.Marked(t.Value)
	default:
		return
	}
	if x.sets.values[v] == nil {
		x.sets.values[v] = &s
	}
}

func (x *fixed) list() []*packet.Set {
	s := &x.sets
	out := []*packet.Set{&s.sent, &s.first, &s.tracked, &s.overLo, &s.routed, &s.ofRouted}
	for _, set := range s.values {
		out = append(out, set)
	}
	return out
}

func (x *fixed) bind(s *packet.Space) {
	x.sent, x.first, x.tracked, x.overLo = s.Bits(&x.sets.sent), s.Bits(&x.sets.first), s.Bits(&x.sets.tracked), s.Bits(&x.sets.overLo)
	x.routed, x.ofRouted = s.Bits(&x.sets.routed), s.Bits(&x.sets.ofRouted)
	clear(x.atoms)
	for v, set := range x.sets.values {
		x.atoms[v] = s.Bits(set).Atom()
	}
}
