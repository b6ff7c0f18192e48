package rule

import (
	"cmp"
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
	OutLink                    // interface it leaves by
	Protocol                   // "tcp"
	DestPort                   // TCP port; needs Protocol
	OwnerUID                   // of the process that sends it
	OwnerGID                   // of the process that sends it
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

// From holds for packets from p; its host bits do not count.
func From(p netip.Prefix) Match { return Match{Key: Source, Value: p.Masked().String()} }

// To holds for packets to p; its host bits do not count. It must not be used for a range
// of length 0: the kernel does not store what always holds.
func To(p netip.Prefix) Match { return Match{Key: Destination, Value: p.Masked().String()} }

// OverLoopback holds for packets that leave by lo.
func OverLoopback() Match { return Match{Key: OutLink, Value: "lo"} }

// ToPort holds for packets to TCP port p.
func ToPort(p uint16) Match { return Match{Key: DestPort, Value: strconv.Itoa(int(p))} }

// ByUID holds for packets sent by a process of that user.
func ByUID(id uint32) Match {
	return Match{Key: OwnerUID, Value: strconv.FormatUint(uint64(id), 10)}
}

// ByGID holds for packets sent by a process of that primary group.
func ByGID(id uint32) Match {
	return Match{Key: OwnerGID, Value: strconv.FormatUint(uint64(id), 10)}
}

// Negate is the opposite condition.
func (m Match) Negate() Match {
	m.Not = !m.Not
	return m
}

// option is how iptables spells a key, and the extension that has to be loaded before.
func (k Key) option() (flag, module string) {
	switch k {
	case Source:
		return "-s", ""
	case Destination:
		return "-d", ""
	case OutLink:
		return "-o", ""
	case Protocol:
		return "-p", ""
	case DestPort:
		return "--dport", "tcp"
	case OwnerUID:
		return "--uid-owner", "owner"
	case OwnerGID:
		return "--gid-owner", "owner"
	case Other: // its value is spelled out
	}
	return "", ""
}

// words is the condition as arguments of iptables.
func (m Match) words() []string {
	flag, module := m.Key.option()
	var out []string
	if module != "" {
		out = append(out, "-m", module)
	}
	if m.Not {
		out = append(out, "!")
	}
	if flag != "" {
		out = append(out, flag)
	}
	return append(out, m.Value)
}

func sorted(ms []Match) []Match {
	return slices.SortedFunc(slices.Values(ms), func(a, b Match) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Value, b.Value))
	})
}
