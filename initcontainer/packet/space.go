package packet

import (
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Space is all packets of one family, with the values of each property cut into atoms: no
// set that the space was made for tells two values of an atom apart.
//
// It is not for concurrent use.
type Space struct {
	axes   [Properties]axis
	words  int // of a class
	known  map[*Set]Bits
	buffer []uint64 // not yet handed out
}

// axis is one property's atoms.
type axis struct {
	starts    []point // of each atom, ascending; the first is the first value there is
	last      point   // the last value there is
	at, words int     // where a class keeps which atoms it has
}

// Bits is a Set as atoms of a space.
type Bits struct {
	Of    Property
	words []uint64
}

// NewSpace returns the space of family f for the given sets, of which it keeps the pointers.
func NewSpace(f rule.Family, sets []*Set) *Space {
	s := &Space{known: make(map[*Set]Bits, len(sets))}
	cuts := fixedCuts(f)
	for _, set := range sets {
		cuts[set.of] = append(cuts[set.of], set.spans...)
	}
	// Marks are copied between a packet and its connection: both have the same atoms.
	marks := slices.Concat(cuts[Mark], cuts[ConnMark])
	cuts[Mark], cuts[ConnMark] = marks, marks
	for of := range Property(Properties) {
		a := &s.axes[of]
		a.cut(cuts[of])
		a.at, a.words = s.words, (len(a.starts)+63)/64
		s.words += a.words
	}
	for _, set := range sets {
		s.Bits(set)
	}
	return s
}

// fixedCuts is, for each property, first the span of all its values and then those that
// are told apart in every space.
func fixedCuts(f rule.Family) [Properties][]span {
	one := func(p point) span { return span{p, p} }
	id := []span{{number(0), number(math.MaxUint32)}, one(number(Nobody))}
	port := []span{{number(0), number(math.MaxUint16)}}
	mark := []span{{number(0), number(math.MaxUint32)}, one(number(0))}
	link := []span{{point{}, lastLink("")}, one(point{}), one(linkPoint(Lo))}
	everywhere, loopback := To(netip.MustParsePrefix("0.0.0.0/0")), Loopback(f)
	if f == rule.IPv6 {
		everywhere = To(netip.MustParsePrefix("::/0"))
	}
	addr := slices.Concat(everywhere.spans, loopback.spans)
	out := [Properties][]span{
		Out: link, In: link, Source: addr, Destination: addr, SourcePort: port, DestPort: port,
		UID: id, GID: id, Mark: mark, ConnMark: mark,
		Carries: {{number(0), number(uint32(UDP))}},
		Conn:    {{number(0), number(uint32(Untracked))}},
	}
	for _, of := range []Property{Carries, Conn} {
		for n := uint32(0); n <= uint32(out[of][0].last.lo); n++ {
			out[of] = append(out[of], one(number(n)))
		}
	}
	for of := range out {
		out[of] = slices.Clip(out[of]) // properties share what they are appended to
	}
	return out
}

// cut makes the atoms of an axis: the first span is all its values.
func (a *axis) cut(spans []span) {
	all := spans[0]
	a.last = all.last
	starts := make([]point, 0, 2*len(spans))
	for _, x := range spans {
		starts = append(starts, x.first)
		if x.last.less(all.last) {
			starts = append(starts, x.last.next())
		}
	}
	slices.SortFunc(starts, point.compare)
	a.starts = slices.Compact(starts)
}

// Bits returns set as atoms of s, which must have been made for it, or for sets that tell
// apart what it does.
func (s *Space) Bits(set *Set) Bits {
	if b, ok := s.known[set]; ok {
		return b
	}
	a := &s.axes[set.of]
	b := Bits{Of: set.of, words: s.allocate(a.words)}
	for _, x := range set.spans {
		b.fill(a.from(x.first), a.until(x.last))
	}
	if set.not {
		for i := range b.words {
			b.words[i] = ^b.words[i]
		}
		b.trim(len(a.starts))
	}
	s.known[set] = b
	return b
}

// from is the atom that begins with p. A value that the space was not made for is a
// mistake of the program: answers about it would be wrong.
func (a *axis) from(p point) int {
	i, ok := slices.BinarySearchFunc(a.starts, p, point.compare)
	if !ok {
		panic(fmt.Sprintf("packet: a space was asked about the value %x, which it was not made for", p))
	}
	return i
}

// until is the first atom after p.
func (a *axis) until(p point) int {
	if !p.less(a.last) {
		return len(a.starts)
	}
	return a.from(p.next())
}

// holding is the atom that p lies in.
func (a *axis) holding(p point) int {
	i, ok := slices.BinarySearchFunc(a.starts, p, point.compare)
	if !ok {
		i--
	}
	return i
}

// end is the last value of an atom.
func (a *axis) end(atom int) point {
	if atom+1 == len(a.starts) {
		return a.last
	}
	return a.starts[atom+1].before()
}

func (b Bits) fill(from, until int) {
	for i := from; i < until; i++ {
		b.words[i/64] |= 1 << (i % 64)
	}
}

// trim clears all behind the first n.
func (b Bits) trim(n int) {
	if n%64 != 0 {
		b.words[len(b.words)-1] &= 1<<(n%64) - 1
	}
}

// Has reports whether an atom lies in the set.
func (b Bits) Has(atom int) bool { return b.words[atom/64]>>(atom%64)&1 == 1 }

// And is what lies in both; they must be of the same property.
func (b Bits) And(o Bits) Bits {
	out := b.Clone()
	for i := range out.words {
		out.words[i] &= o.words[i]
	}
	return out
}

// Clone is a copy of b.
func (b Bits) Clone() Bits { return Bits{Of: b.Of, words: slices.Clone(b.words)} }

// Add puts what lies in o into b; they must be of the same property.
func (b Bits) Add(o Bits) {
	for i := range b.words {
		b.words[i] |= o.words[i]
	}
}

// Equal reports whether both hold the same; they must be of the same property.
func (b Bits) Equal(o Bits) bool { return slices.Equal(b.words, o.words) }

// Atom is the first atom in the set, -1 where there is none.
func (b Bits) Atom() int {
	for i, w := range b.words {
		if w != 0 {
			return i*64 + bits.TrailingZeros64(w)
		}
	}
	return -1
}

// allocate hands out n zero words.
func (s *Space) allocate(n int) []uint64 {
	if len(s.buffer) < n {
		s.buffer = make([]uint64, max(n, 2048))
	}
	out := s.buffer[:n:n]
	s.buffer = s.buffer[n:]
	return out
}
