package packet

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Example is one packet of the class, one that a reader finds ordinary where there is.
// The class must not be empty.
func (c Class) Example() Packet {
	return Packet{
		Out: c.value(Out).link(), In: c.value(In).link(),
		Protocol: Protocol(c.value(Carries).lo),
		Source:   c.value(Source).addr(), Destination: c.value(Destination).addr(),
		SourcePort: uint16(c.port(SourcePort)), DestPort: uint16(c.port(DestPort)),
		UID: uint32(c.value(UID).lo), GID: uint32(c.value(GID).lo),
		Mark: uint32(c.value(Mark).lo), ConnMark: uint32(c.value(ConnMark).lo),
		State: State(c.value(Conn).lo),
	}
}

func (c Class) port(of Property) uint64 {
	if Protocol(c.value(Carries).lo) == Other {
		return 0
	}
	return c.value(of).lo
}

// value is an ordinary value of a property.
func (c Class) value(of Property) point {
	a := &c.space.axes[of]
	b := c.Of(of)
	for _, p := range c.ordinary(of) {
		if !p.less(a.starts[0]) && !a.last.less(p) && b.Has(a.holding(p)) && a.sameKind(of, p) {
			return p
		}
	}
	first := b.Atom()
	if of == In || of == Out {
		return a.readable(first)
	}
	return a.starts[first]
}

// sameKind reports whether p is of the space's family: those of IPv4 lie within IPv6.
func (a *axis) sameKind(of Property, p point) bool {
	return of != Source && of != Destination || p.addr().Is4() == a.last.addr().Is4()
}

// readable is a name of an interface in an atom: its first one need not be one that can
// be written.
func (a *axis) readable(atom int) point {
	begin, end := a.starts[atom], a.end(atom)
	for _, more := range []string{"", "0", "x"} {
		if p := linkPoint(begin.link() + more); !p.less(begin) && !end.less(p) {
			return p
		}
	}
	return begin
}

// ordinary is values that come to a reader's mind first, most ordinary first.
func (c Class) ordinary(of Property) []point {
	switch of {
	case Out, In:
		return []point{linkPoint("eth0"), linkPoint(Lo)}
	case Carries:
		return []point{number(uint32(TCP)), number(uint32(UDP))}
	case Destination:
		arrives := linkPoint("") == c.value(Out)
		return addresses(arrives || c.value(Out) == linkPoint(Lo))
	case Source:
		return addresses(c.value(In) == linkPoint(""))
	case SourcePort:
		return []point{number(40000)}
	case DestPort:
		return []point{number(8080), number(80)}
	case UID, GID:
		return []point{number(1000), number(0)}
	case Mark, ConnMark, Conn:
		return []point{number(0)}
	}
	return nil
}

// addresses is one of a pod and some of others, of both families.
func addresses(own bool) []point {
	pod := []string{"10.244.0.5", "fd00:10:244::5"}
	others := []string{"192.0.2.7", "2001:db8::7", "198.51.100.7", "2001:db8:1::7"}
	list := slices.Concat(others, pod)
	if own {
		list = slices.Concat(pod, []string{"127.0.0.1", "::1"}, others)
	}
	out := make([]point, len(list))
	for i, a := range list {
		out[i] = addrPoint(netip.MustParseAddr(a))
	}
	return out
}

// String is the class in words: each property that not all packets of its kind share, such
// as "tcp; sent over lo; to 127.0.0.0/8; to port 1-52, 54-65535".
func (c Class) String() string {
	var words []string
	add := func(before string, of Property) {
		text := c.describe(of)
		if text == "0" && (of == Mark || of == ConnMark) {
			return // that there is no mark goes without saying
		}
		if text != "" {
			words = append(words, before+text)
		}
	}
	add("", Carries)
	if c.value(In) == linkPoint("") {
		words = append(words, "sent over "+c.describe(Out))
		if c.value(UID) == number(Nobody) {
			words = append(words, "by the kernel")
		} else {
			add("by uid ", UID)
			add("by gid ", GID)
		}
	} else {
		words = append(words, "arrived by "+c.describe(In))
	}
	add("from ", Source)
	add("from port ", SourcePort)
	add("to ", Destination)
	add("to port ", DestPort)
	add("mark ", Mark)
	add("connection mark ", ConnMark)
	add("", Conn)
	return strings.Join(words, "; ")
}

// describe lists the values of a property, "" where it has all.
func (c Class) describe(of Property) string {
	a, b := &c.space.axes[of], c.Of(of)
	var in, out []span
	for i := range a.starts {
		x := span{a.starts[i], a.end(i)}
		list := &out
		if b.Has(i) {
			list = &in
		}
		if n := len(*list) - 1; n >= 0 && (*list)[n].last.next() == x.first && of != Carries && of != Conn {
			(*list)[n].last = x.last
			continue
		}
		*list = append(*list, x)
	}
	// That somebody, or some interface, is meant goes without saying.
	out = slices.DeleteFunc(out, func(x span) bool { return implied(of, x) })
	if len(out) == 0 && of != In && of != Out {
		return ""
	}
	if len(out) < len(in) && (of != Conn || len(out) == 1) || (of == In || of == Out) && wide(in) {
		return strings.TrimSuffix("any but "+listing(of, out), "any but ")
	}
	return listing(of, in)
}

func implied(of Property, x span) bool {
	switch of {
	case UID, GID:
		return x.first == number(Nobody)
	case In, Out:
		return x.first == linkPoint("")
	case Conn:
		return x.first == number(uint32(Untracked))
	}
	return false
}

// wide reports whether some span is more than one value.
func wide(list []span) bool {
	return slices.ContainsFunc(list, func(x span) bool { return x.first != x.last })
}

func listing(of Property, list []span) string {
	if len(list) == 0 {
		return "any"
	}
	words := make([]string, len(list))
	for i, x := range list {
		words[i] = x.text(of)
	}
	return strings.Join(words, ", ")
}

// text is a span of a property in words.
func (x span) text(of Property) string {
	switch of {
	case Source, Destination:
		return x.addresses()
	case In, Out:
		if x.first == x.last {
			return x.first.link()
		}
		return x.first.link() + "…"
	case Carries:
		return Protocol(x.first.lo).String()
	case Conn:
		return State(x.first.lo).String()
	}
	text := strconv.FormatUint(x.first.lo, 10)
	if x.first != x.last {
		text += "-" + strconv.FormatUint(x.last.lo, 10)
	}
	return text
}

func (x span) addresses() string {
	first, last := x.first.addr(), x.last.addr()
	if first == last {
		return first.String()
	}
	for n := range first.BitLen() {
		p := netip.PrefixFrom(first, n)
		if p.Masked().Addr() == first && To(p).spans[0] == x {
			return p.String()
		}
	}
	return first.String() + "-" + last.String()
}
