// Package rule is the vocabulary of the interception rules: chains, matches, targets and
// sets of them, written as iptables writes them and read back from its listings.
//
// It knows the form of rules, not which are wanted (package plan) nor how they get into
// the kernel (package apply). It is pure.
package rule

import (
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
	// Raw sees each packet before its connection is looked up.
	Raw Table = "raw"
)

// Tables lists the tables in use, in the order in which a packet meets them.
func Tables() []Table { return []Table{Raw, Mangle, Nat} }

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
	Members    Chain = "ISTIO_MEMBERS"     // which connections of the included owner groups are captured
	Guests     Chain = "ISTIO_GUESTS"      // which connections of guests of the pod are captured
	Divert     Chain = "ISTIO_TPROXY"      // to the inbound listener, addresses unchanged
	Discard    Chain = "ISTIO_DROP"        // what fits no connection
	DNS        Chain = "ISTIO_OUTPUT_DNS"  // which queries go to the agent
)

const privatePrefix = "ISTIO_"

// Private reports whether the chain belongs to the interception alone. Other chains hold
// rules of others too, which are never touched.
func (c Chain) Private() bool { return strings.HasPrefix(string(c), privatePrefix) }

// whyPrefix marks the comments of this program's rules.
const whyPrefix = "sluice/"

// WhyOf is the reason that a rule's comment in the kernel names; not ok when the comment is
// not one of this program's.
func WhyOf(comment string) (why string, ok bool) { return strings.CutPrefix(comment, whyPrefix) }

// Comment is what stands beside the rule in the kernel; "" for rules without a reason.
func (r Rule) Comment() string {
	if r.Why == "" {
		return ""
	}
	return whyPrefix + r.Why
}

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
	protocol := r.protocol()
	for _, m := range r.Match {
		words = append(words, m.words(protocol)...)
	}
	if c := r.Comment(); c != "" {
		words = append(words, "-m", "comment", "--comment", c)
	}
	return strings.Join(append(words, "-j", r.Target.String()), " ")
}

// protocol is what the rule is limited to, "" when it is not limited.
func (r Rule) protocol() string {
	for _, m := range r.Match {
		if m.Key == Protocol && !m.Not {
			return m.Value
		}
	}
	return ""
}

// String is the line that appends the rule, "-A CHAIN ...".
func (r Rule) String() string { return "-A " + string(r.Chain) + " " + r.Spec() }

// Equal reports whether the two rules do the same to the same packets for the same stated
// reason. The order in which matches are written does not count.
func (r Rule) Equal(o Rule) bool {
	return r.Chain == o.Chain && r.Target == o.Target && r.Why == o.Why &&
		sameMatches(r.Match, o.Match)
}

// Owned reports whether the rule is one of the interception's, wherever it stands: in a
// private chain, going to one, or commented so.
func (r Rule) Owned() bool {
	return r.Chain.Private() || r.Target.Chain.Private() || r.Why != ""
}
