package rule

// Hook is a point of a packet's way through the kernel at which it meets chains.
type Hook uint8

// The hooks at which interception happens; what chains at other hooks do is not its matter.
const (
	AtPrerouting Hook = iota + 1 // reached the host, or came back over lo; not routed yet
	AtOutput                     // sent by a process of the host
)

// Backend is who keeps rules in the kernel, in the user's words.
type Backend string

// The backends. A packet meets the rules of all of them.
const (
	IPTablesNft    Backend = "iptables-nft"
	IPTablesLegacy Backend = "iptables-legacy"
	NFTables       Backend = "nftables" // tables that are not those of iptables
)

// Place is one chain among all of a family. The table is its name in the backend: of
// iptables a Table, of nftables any.
type Place struct {
	Backend Backend
	Table   string
	Chain   Chain
}

// String is the place in one line, "iptables-nft nat ISTIO_OUTPUT".
func (p Place) String() string { return string(p.Backend) + " " + p.Table + " " + string(p.Chain) }

// The priorities of hooks: packets meet lower ones first. Connections are looked up
// between PriorityRaw and PriorityMangle.
const (
	PriorityRaw    = -300
	PriorityTrack  = -200
	PriorityMangle = -150
	PriorityNat    = -100
	PriorityFilter = 0
)

// Base is a chain at which packets enter a table.
type Base struct {
	Place
	Hook     Hook
	Priority int
	Nat      bool // met only by the first packet of a connection, and only until one rule has decided
	Drops    bool // packets that no rule decides are dropped
}

// Listing is everything of one family that packets meet at the hooks, of all backends,
// rules of others included.
type Listing struct {
	Bases []Base           // in no order
	Rules map[Place][]Rule // of each chain in order; a chain without rules has an entry, too
}

// ListingOf is the listing of a host that holds s in backend b and nothing else.
func ListingOf(b Backend, s Sets) Listing {
	l := Listing{Rules: map[Place][]Rule{}}
	for _, t := range Tables() {
		set := s[t]
		if set.Empty() {
			continue
		}
		for _, base := range Bases(b, t) {
			l.Bases = append(l.Bases, base)
			l.Rules[base.Place] = nil
		}
		for _, c := range set.Chains {
			l.Rules[Place{b, string(t), c}] = nil
		}
		for _, r := range set.Rules {
			at := Place{b, string(t), r.Chain}
			l.Rules[at] = append(l.Rules[at], r)
		}
	}
	return l
}

// Bases are the built-in chains of a table of iptables at the hooks of interception; none
// for a table that has none there.
func Bases(b Backend, t Table) []Base {
	priority, ok := map[Table]int{Raw: PriorityRaw, Mangle: PriorityMangle, Nat: PriorityNat}[t]
	if !ok {
		return nil
	}
	base := func(h Hook, c Chain) Base {
		return Base{Place: Place{b, string(t), c}, Hook: h, Priority: priority, Nat: t == Nat}
	}
	return []Base{base(AtPrerouting, Prerouting), base(AtOutput, Output)}
}
