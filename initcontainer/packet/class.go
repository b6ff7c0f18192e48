package packet

import (
	"math/bits"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Class is the packets of a space whose properties each have one of some atoms. It is a
// value and not changed once made; the zero Class is of no use.
type Class struct {
	space *Space
	atoms []uint64
}

// All is all packets of the space, impossible ones among them.
func (s *Space) All() Class {
	c := Class{space: s, atoms: s.allocate(s.words)}
	for of := range Property(Properties) {
		a := &s.axes[of]
		b := Bits{Of: of, words: c.of(of)}
		b.fill(0, len(a.starts))
	}
	return c
}

// Only is the packet p alone, as far as the space tells it from others.
func (s *Space) Only(p Packet) Class {
	c := Class{space: s, atoms: s.allocate(s.words)}
	for of := range Property(Properties) {
		i := s.axes[of].holding(p.point(of))
		Bits{Of: of, words: c.of(of)}.fill(i, i+1)
	}
	return c
}

// SetsOf is sets that tell p from all other packets.
func SetsOf(p Packet) []*Set {
	var out []*Set
	for of := range Property(Properties) {
		out = append(out, &Set{of: of, spans: []span{{p.point(of), p.point(of)}}})
	}
	return out
}

// Of is which values of a property occur in the class.
func (c Class) Of(of Property) Bits { return Bits{Of: of, words: c.of(of)} }

func (c Class) of(of Property) []uint64 {
	a := &c.space.axes[of]
	return c.atoms[a.at : a.at+a.words]
}

// Meets reports whether some of the class lies in b, and whether all of it does.
func (c Class) Meets(b Bits) (some, all bool) {
	all = true
	for i, w := range c.of(b.Of) {
		some = some || w&b.words[i] != 0
		all = all && w&^b.words[i] == 0
	}
	return some, all
}

// And is the part of the class that lies in b.
func (c Class) And(b Bits) Class {
	out := c.clone()
	for i, w := range out.of(b.Of) {
		out.of(b.Of)[i] = w & b.words[i]
	}
	return out
}

// Minus is the part of the class that does not lie in b.
func (c Class) Minus(b Bits) Class {
	out := c.clone()
	for i, w := range out.of(b.Of) {
		out.of(b.Of)[i] = w &^ b.words[i]
	}
	return out
}

// Each calls yield with the part of the class for each atom of a property.
func (c Class) Each(of Property, yield func(atom int, part Class)) {
	for i, w := range c.of(of) {
		for ; w != 0; w &= w - 1 {
			atom := i*64 + bits.TrailingZeros64(w)
			part := c.clone()
			clear(part.of(of))
			Bits{Of: of, words: part.of(of)}.fill(atom, atom+1)
			yield(atom, part)
		}
	}
}

func (c Class) clone() Class {
	out := Class{space: c.space, atoms: c.space.allocate(len(c.atoms))}
	copy(out.atoms, c.atoms)
	return out
}

// Narrow is the part of the class that lies in all of the sets.
func (c Class) Narrow(sets ...Set) Class {
	for i := range sets {
		c = c.And(c.space.Bits(&sets[i]))
	}
	return c
}

// Possible is the packets that there can be, in classes that do not overlap, those of most
// interest first; marks tells
// whether marks matter, else packets are taken to have none. In family f:
//   - A packet is sent by a process, with a user and a group, by the kernel, with neither, or
//     it arrived by an interface that is not lo; the latter bears no mark yet, as
//     marks do not leave a host or network namespace.
//   - Loopback addresses are reached over lo and not otherwise. Which further
//     addresses are the host's own is not known: what leaves by lo may go to any.
//   - The first packet of a connection finds no mark on it, nor does one without.
//   - Nobody but a rule gives packets the mark reserved.
func (s *Space) Possible(f rule.Family, marks bool, reserved uint32) []Class {
	nobody, user := OfUsers(Nobody), OfUsers(Nobody).Not()
	noGroup, group := OfGroups(Nobody), OfGroups(Nobody).Not()
	sent, plain, unmarked := ArrivedBy(""), Marked(0), OfMarked(0)
	lo, loopback := LeavesBy(Lo), Loopback(f)
	who := [][]Set{
		{sent, user, group, LeavesBy("", Lo).Not(), loopback.Not()},
		{LeavesBy(""), ArrivedBy("", Lo).Not(), nobody, noGroup, plain},
		{sent, user, group, lo},
		{sent, nobody, noGroup, LeavesBy("", Lo).Not(), loopback.Not()},
		{sent, nobody, noGroup, lo},
	}
	state := [][]Set{
		{InState(New, Related, Invalid), unmarked},
		{InState(Established, Answer)},
	}
	all := s.All()
	switch {
	case !marks:
		all = all.Narrow(plain, unmarked)
	case reserved != 0:
		all = all.Narrow(Marked(reserved).Not())
	}
	var out []Class
	for _, w := range who {
		for _, st := range state {
			out = append(out, all.Narrow(w...).Narrow(st...))
		}
	}
	return out
}
