package rule

import (
	"strconv"
	"strings"
)

// Action is what a rule does with a packet that matches.
type Action uint8

// The actions. After those marked (goes on) the packet meets the next rule.
const (
	Nothing   Action = iota // goes on; only of foreign rules
	Returns                 // goes back to the calling chain, or to the policy of a built-in one
	Accepts                 // ends the table's chains for this packet
	Drops                   // throws the packet away
	Jumps                   // continues in Target.Chain, and after it behind the rule
	Redirects               // sends the connection to Target.Port of this host
	Diverts                 // hands the packet as it is to the listener on Target.Port, with mark Target.Value
	Marks                   // gives the packet mark Target.Value (goes on)
	KeepsMark               // gives the packet's mark to its connection (goes on)
	TakesMark               // gives the connection's mark to the packet (goes on)
	Zones                   // looks the connection up in conntrack zone Target.Value (goes on)
	Foreign                 // anything else: Target.Text is iptables' own text
)

// Target is what happens to a packet that matches. It is a comparable value; fields that
// the action does not name are zero. A parsed jump may be to a chain or to an extension
// without options: the listing tells which chains there are.
type Target struct {
	Action Action
	Chain  Chain  // of Jumps
	Port   uint16 // of Redirects and Diverts
	Value  uint32 // mark of Diverts and Marks, zone of Zones
	Family Family // of Diverts
	Text   string // of Foreign: all that follows -j; after -g with that flag
}

// Return goes back to the calling chain: the packet is left alone.
func Return() Target { return Target{Action: Returns} }

// Accept ends the table's chains for the packet. Only foreign rules do.
func Accept() Target { return Target{Action: Accepts} }

// Drop throws the packet away.
func Drop() Target { return Target{Action: Drops} }

// KeepMark gives the packet's mark to its connection.
func KeepMark() Target { return Target{Action: KeepsMark} }

// TakeMark gives the connection's mark to the packet.
func TakeMark() Target { return Target{Action: TakesMark} }

// Jump continues in chain c.
func Jump(c Chain) Target { return Target{Action: Jumps, Chain: c} }

// RedirectTo sends the connection to a port of this host. Its rule must match a protocol.
func RedirectTo(port uint16) Target { return Target{Action: Redirects, Port: port} }

// Mark gives the packet a mark.
func Mark(mark uint32) Target { return Target{Action: Marks, Value: mark} }

// DivertTo hands packets of family f to the listener on a port of this host, with the
// addresses they have, and marks them. It is for PREROUTING of Mangle; its rule must match
// a protocol.
func DivertTo(f Family, port uint16, mark uint32) Target {
	return Target{Action: Diverts, Family: f, Port: port, Value: mark}
}

// Zone looks the packet's connection up in a conntrack zone of its own, so that two
// connections between the same addresses and ports do not collide. It is for Raw; the
// first one that a packet meets decides.
func Zone(n uint16) Target { return Target{Action: Zones, Value: uint32(n)} }

// allBits is the mask of a mark that is used as a whole.
const allBits = "/0xffffffff"

// How iptables lists targets without options of their own.
const (
	keepMarkText = "CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff"
	takeMarkText = "CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff"
)

// String is the target as iptables writes it after -j.
func (t Target) String() string {
	switch t.Action {
	case Returns:
		return "RETURN"
	case Accepts:
		return "ACCEPT"
	case Drops:
		return "DROP"
	case Jumps:
		return string(t.Chain)
	case Redirects:
		return "REDIRECT --to-ports " + strconv.Itoa(int(t.Port))
	case Diverts:
		anywhere := "0.0.0.0"
		if t.Family == IPv6 {
			anywhere = "::"
		}
		return "TPROXY --on-port " + strconv.Itoa(int(t.Port)) + " --on-ip " + anywhere + " --tproxy-mark " + hex(t.Value) + allBits
	case Marks:
		return "MARK --set-xmark " + hex(t.Value) + allBits
	case KeepsMark:
		return keepMarkText
	case TakesMark:
		return takeMarkText
	case Zones:
		return "CT --zone " + strconv.Itoa(int(t.Value))
	case Nothing, Foreign:
	}
	return t.Text
}

// parseTarget reads all that follows -j or -g. A goto is never planned.
func parseTarget(flag string, words []string) Target {
	text := strings.Join(words, " ")
	foreign := Target{Action: Foreign, Text: text}
	if flag == "-g" {
		foreign.Text = "-g " + text
		return foreign
	}
	if text == keepMarkText {
		return KeepMark()
	}
	if text == takeMarkText {
		return TakeMark()
	}
	switch len(words) {
	case 1:
		switch text {
		case "RETURN":
			return Return()
		case "ACCEPT":
			return Accept()
		case "DROP":
			return Drop()
		}
		return Jump(Chain(text))
	case 3:
		if t, ok := withNumber(words); ok && t.String() == text {
			return t
		}
	case 7:
		if t, ok := divert(words); ok && t.String() == text {
			return t
		}
	}
	return foreign
}

// withNumber reads a target with one option; other spellings of it are left to the caller.
func withNumber(words []string) (t Target, ok bool) {
	n, err := strconv.ParseUint(strings.TrimSuffix(words[2], allBits), 0, 32)
	if err != nil {
		return t, false
	}
	switch words[0] + " " + words[1] {
	case "REDIRECT --to-ports":
		return RedirectTo(uint16(n)), true
	case "MARK --set-xmark":
		return Mark(uint32(n)), true
	case "CT --zone":
		return Zone(uint16(n)), true
	}
	return t, false
}

func divert(words []string) (t Target, ok bool) {
	port, err := strconv.ParseUint(words[2], 10, 16)
	if err != nil {
		return t, false
	}
	mark, err := strconv.ParseUint(strings.TrimSuffix(words[6], allBits), 0, 32)
	f := IPv4
	if words[4] == "::" {
		f = IPv6
	}
	return DivertTo(f, uint16(port), uint32(mark)), err == nil
}
