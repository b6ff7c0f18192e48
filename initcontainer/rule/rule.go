// Package rule is the vocabulary of the interception rules: chains, matches, targets and
// sets of them, written as iptables writes them and read back from its listings.
//
// It knows the form of rules, not which are wanted (package plan) nor how they get into
// the kernel (package apply). It is pure.
package rule

import (
	"slices"
	"strconv"
	"strings"
)

// Family is an address family.
type Family uint8

// The two families. Their rules live in separate tables of the kernel.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// String is "IPv4" or "IPv6".
func (f Family) String() string { return "IPv" + strconv.Itoa(int(f)) }

// Table is a table of the kernel.
type Table string

// The tables in use.
const (
	// Nat decides once for each connection where it goes; its verdict holds for all packets.
	Nat Table = "nat"
	// Mangle sees each packet, before Nat does.
	Mangle Table = "mangle"
)

// Tables lists the tables in use, in the order in which a packet meets them.
func Tables() []Table { return []Table{Mangle, Nat} }

// Chain is the name of a chain.
type Chain string

// The chains in use. Users look for the private ones by these names. A name may stand for
// a chain in each table.
const (
	Prerouting Chain = "PREROUTING"        // built in: what reaches the pod
	Output     Chain = "OUTPUT"            // built in: what the pod sends
	Inbound    Chain = "ISTIO_INBOUND"     // which inbound connections are captured
	InRedirect Chain = "ISTIO_IN_REDIRECT" // to the inbound listener
	Outbound   Chain = "ISTIO_OUTPUT"      // which outbound connections are captured
	Redirect   Chain = "ISTIO_REDIRECT"    // to the outbound listener
	Guests     Chain = "ISTIO_GUESTS"      // which connections of guests of the pod are captured
	Divert     Chain = "ISTIO_TPROXY"      // to the inbound listener, addresses unchanged
	Discard    Chain = "ISTIO_DROP"        // what fits no connection
)

const privatePrefix = "ISTIO_"

// Private reports whether the chain belongs to the interception alone. Other chains hold
// rules of others too, which are never touched.
func (c Chain) Private() bool { return strings.HasPrefix(string(c), privatePrefix) }

// Target is what happens to a packet that matches, as iptables writes it after -j.
type Target string

// Targets without options. What they keep or take is the whole of a mark, spelled out as
// iptables lists it.
const (
	// Return goes back to the calling chain: the packet is left alone.
	Return Target = "RETURN"
	// Drop throws the packet away.
	Drop Target = "DROP"
	// KeepMark gives the packet's mark to its connection.
	KeepMark Target = "CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff"
	// TakeMark gives the connection's mark to the packet.
	TakeMark Target = "CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff"
)

// Jump continues in chain c.
func Jump(c Chain) Target { return Target(c) }

// RedirectTo sends the connection to a port of this host. Its rule must match a protocol.
func RedirectTo(port uint16) Target {
	return Target("REDIRECT --to-ports " + strconv.Itoa(int(port)))
}

// Mark gives the packet a mark.
func Mark(mark uint32) Target { return Target("MARK --set-xmark " + hex(mark) + allBits) }

// DivertTo hands packets of family f to the listener on a port of this host, with the
// addresses they have, and marks them. It is for PREROUTING of Mangle; its rule must match
// a protocol.
func DivertTo(f Family, port uint16, mark uint32) Target {
	any := "0.0.0.0"
	if f == IPv6 {
		any = "::"
	}
	return Target("TPROXY --on-port " + strconv.Itoa(int(port)) + " --on-ip " + any + " --tproxy-mark " + hex(mark) + allBits)
}

// allBits is the mask of a mark that is used as a whole.
const allBits = "/0xffffffff"

// whyPrefix marks the comments of this program's rules.
const whyPrefix = "sluice/"

// Rule is one rule of a chain. It is a value and not modified once made.
type Rule struct {
	Chain  Chain
	Match  []Match // all must hold
	Target Target
	Why    string // short reason, one word with hyphens; the comment in the kernel; "" for foreign rules

	text string // of a parsed rule: all after the chain, as listed
}

// Spec is the rule without its chain: what iptables takes after "-A CHAIN". Of a parsed
// rule it is what the kernel listed.
func (r Rule) Spec() string {
	if r.text != "" {
		return r.text
	}
	var words []string
	for _, m := range r.Match {
		words = append(words, m.words()...)
	}
	if r.Why != "" {
		words = append(words, "-m", "comment", "--comment", whyPrefix+r.Why)
	}
	return strings.Join(append(words, "-j", string(r.Target)), " ")
}

// String is the line that appends the rule, "-A CHAIN ...".
func (r Rule) String() string { return "-A " + string(r.Chain) + " " + r.Spec() }

// Equal reports whether the two rules do the same to the same packets for the same stated
// reason. The order in which matches are written does not count.
func (r Rule) Equal(o Rule) bool {
	return r.Chain == o.Chain && r.Target == o.Target && r.Why == o.Why &&
		slices.Equal(sorted(r.Match), sorted(o.Match))
}

// Owned reports whether the rule is one of the interception's, wherever it stands: in a
// private chain, going to one, or commented so.
func (r Rule) Owned() bool {
	return r.Chain.Private() || Chain(r.Target).Private() || r.Why != ""
}
