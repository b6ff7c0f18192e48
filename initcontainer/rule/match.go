package rule

import (
	"net/netip"
	"slices"
	"strconv"
)

// Key says what of a packet a Match looks at.
type Key uint8

// The keys, in the order in which iptables lists them.
const (
	Source      Key = iota + 1 // address range
	Destination                // address range
	InLink                     // interface it came in by
	OutLink                    // interface it leaves by
	Protocol                   // "tcp" or "udp"
	SourcePort                 // TCP or UDP port; needs Protocol
	DestPort                   // TCP or UDP port; needs Protocol
	OwnerUID                   // of the process that sends it
	OwnerGID                   // of the process that sends it
	PacketMark                 // number that the host's other parts see with the packet
	ConnMark                   // number that is kept with its connection
	ConnState                  // of its connection: NEW, ESTABLISHED, INVALID and others
	ConnDir                    // ORIGINAL for packets from who opened the connection, else REPLY
	Other                      // anything else, only in parsed rules; the value is iptables' own text
)

// Match is one condition of a rule. It is comparable: equal conditions are ==.
type Match struct {
	Key   Key
	Not   bool
	Value string // canonical: ranges masked and with their length, numbers in decimal
}

// TCP holds for TCP.
func TCP() Match { return Match{Key: Protocol, Value: "tcp"} }

// UDP holds for UDP.
func UDP() Match { return Match{Key: Protocol, Value: "udp"} }

// From holds for packets from p; its host bits do not count.
func From(p netip.Prefix) Match { return Match{Key: Source, Value: p.Masked().String()} }

// To holds for packets to p; its host bits do not count. It must not be used for a range
// of length 0: the kernel does not store what always holds.
func To(p netip.Prefix) Match { return Match{Key: Destination, Value: p.Masked().String()} }

// Lo is the interface by which the pod talks to itself.
const Lo = "lo"

// Leaving holds for packets that leave by the named interface.
func Leaving(link string) Match { return Match{Key: OutLink, Value: link} }

// Entering holds for packets that came in by the named interface.
func Entering(link string) Match { return Match{Key: InLink, Value: link} }

// OverLoopback holds for packets that leave by lo.
func OverLoopback() Match { return Leaving(Lo) }

// FromPort holds for packets from port p of the rule's protocol.
func FromPort(p uint16) Match { return Match{Key: SourcePort, Value: strconv.Itoa(int(p))} }

// ToPort holds for packets to port p of the rule's protocol.
func ToPort(p uint16) Match { return Match{Key: DestPort, Value: strconv.Itoa(int(p))} }

// ByUID holds for packets sent by a process of that user.
func ByUID(id uint32) Match {
	return Match{Key: OwnerUID, Value: strconv.FormatUint(uint64(id), 10)}
}

// ByGID holds for packets sent by a process of that primary group.
func ByGID(id uint32) Match {
	return Match{Key: OwnerGID, Value: strconv.FormatUint(uint64(id), 10)}
}

// Marked holds for packets with exactly that mark.
func Marked(mark uint32) Match { return Match{Key: PacketMark, Value: hex(mark)} }

// OfMarked holds for packets of a connection with exactly that mark.
func OfMarked(mark uint32) Match { return Match{Key: ConnMark, Value: hex(mark)} }

// Invalid holds for packets that fit no connection, whatever their protocol.
func Invalid() Match { return Match{Key: ConnState, Value: "INVALID"} }

// Established holds for packets of a connection that has seen packets both ways.
func Established() Match { return Match{Key: ConnState, Value: "ESTABLISHED"} }

// FromOpener holds for packets sent by the side that opened the connection.
func FromOpener() Match { return Match{Key: ConnDir, Value: "ORIGINAL"} }

func hex(n uint32) string { return "0x" + strconv.FormatUint(uint64(n), 16) }

// Negate is the opposite condition.
func (m Match) Negate() Match {
	m.Not = !m.Not
	return m
}

// option is how iptables spells a key.
func (k Key) option() option {
	switch k {
	case Source:
		return option{"-s", ""}
	case Destination:
		return option{"-d", ""}
	case InLink:
		return option{"-i", ""}
	case OutLink:
		return option{"-o", ""}
	case Protocol:
		return option{"-p", ""}
	case SourcePort:
		return option{"--sport", portModule}
	case DestPort:
		return option{"--dport", portModule}
	case OwnerUID:
		return option{"--uid-owner", "owner"}
	case OwnerGID:
		return option{"--gid-owner", "owner"}
	case PacketMark:
		return option{"--mark", "mark"}
	case ConnMark:
		return option{"--mark", "connmark"}
	case ConnState:
		return option{"--ctstate", "conntrack"}
	case ConnDir:
		return option{"--ctdir", "conntrack"}
	case Other: // its value is spelled out
	}
	return option{}
}

// portModule stands for the extension named like the rule's protocol.
const portModule = "PROTOCOL"

// words is the condition as arguments of iptables, in a rule limited to protocol.
func (m Match) words(protocol string) []string {
	o := m.Key.option()
	var out []string
	if o.module == portModule {
		o.module = protocol
	}
	if o.module != "" {
		out = append(out, "-m", o.module)
	}
	if m.Not {
		out = append(out, "!")
	}
	if o.flag != "" {
		out = append(out, o.flag)
	}
	return append(out, m.Value)
}

// sameMatches reports whether a and b are the same conditions, in any order. Rules are
// compared in the hot path of the init container, so it makes nothing.
func sameMatches(a, b []Match) bool {
	if len(a) != len(b) {
		return false
	}
	if slices.Equal(a, b) {
		return true
	}
	for _, m := range a {
		if count(a, m) != count(b, m) {
			return false
		}
	}
	return true
}

func count(ms []Match, m Match) int {
	n := 0
	for _, x := range ms {
		if x == m {
			n++
		}
	}
	return n
}
