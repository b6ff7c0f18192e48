package model

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// action is what a rule does, as far as it matters for the walk.
type action uint8

const (
	goesOn    action = iota
	returns          // to the calling chain
	accepts          // ends the base chain
	drops            // ends the walk
	jumps            // to a chain, and comes back
	moves            // to a chain, and does not come back
	redirects        // to a port of this host
	diverts          // to a socket of this host
	marks            // the packet, with a known number
	keepsMark        // on its connection
	takesMark        // from its connection
	zones            // chooses the conntrack zone
	untracks         // exempts from connection tracking
	confuses         // changes marks in a way that is not known
	takes            // sends elsewhere
	unknown          // may do anything
)

// compile prepares a rule that stands at place.
func (m *Model) compile(place rule.Place, r rule.Rule) *compiled {
	c := &compiled{Rule: r, place: place}
	for _, match := range r.Match {
		sets, ok := setsOf(match, place.Backend)
		c.unsure = c.unsure || !ok
		for i := range sets {
			c.sets = append(c.sets, &sets[i])
		}
		m.marks = m.marks || match.Key == rule.PacketMark || match.Key == rule.ConnMark
	}
	c.action, c.word = actionOf(r.Target)
	if name, ok := strings.CutPrefix(r.Target.Text, "-g "); ok && r.Target.Action == rule.Foreign {
		c.action, c.to = moves, m.chains[rule.Place{Backend: place.Backend, Table: place.Table, Chain: rule.Chain(name)}]
	}
	if c.action == jumps {
		c.to = m.chains[rule.Place{Backend: place.Backend, Table: place.Table, Chain: r.Target.Chain}]
		if c.to == nil { // an extension without options, of that name
			c.action, c.word = foreign(string(r.Target.Chain))
		}
	}
	if c.action == moves && c.to == nil {
		c.action = unknown
	}
	m.fixed.target(r.Target)
	m.marks = m.marks || slices.Contains([]action{marks, keepsMark, takesMark, confuses}, c.action)
	return c
}

func (c *compiled) bind(s *packet.Space) {
	c.conds = c.conds[:0]
	for _, set := range c.sets {
		b := s.Bits(set)
		if i := slices.IndexFunc(c.conds, func(x packet.Bits) bool { return x.Of == b.Of }); i >= 0 {
			c.conds[i] = c.conds[i].And(b)
		} else {
			c.conds = append(c.conds, b)
		}
	}
}

// join makes runs of rules that follow each other, have the same target and differ in one
// condition: the long lists of ports, ranges and groups that settings have become one
// step each.
func (c *chain) join() {
	c.runs = make([]*compiled, 0, len(c.rules))
	copied := false // the last run is not a rule of the chain itself
	for _, r := range c.rules {
		n := len(c.runs) - 1
		if n < 0 || !c.runs[n].joins(r) {
			c.runs, copied = append(c.runs, r), false
			continue
		}
		if !copied {
			c.runs[n], copied = c.runs[n].clone(), true
		}
		for i, b := range r.conds {
			c.runs[n].conds[i].Add(b)
		}
	}
}

func (c *compiled) clone() *compiled {
	out := *c
	out.conds = make([]packet.Bits, len(c.conds))
	for i, b := range c.conds {
		out.conds[i] = b.Clone()
	}
	return &out
}

// joins reports whether a packet cannot tell the two rules, of which r comes next, from one
// that holds for the packets of both.
func (c *compiled) joins(r *compiled) bool {
	if c.action != r.action || c.Target != r.Target || c.unsure || r.unsure || c.Owned() != r.Owned() ||
		len(c.conds) != len(r.conds) || c.action == goesOn {
		return false
	}
	different := 0
	for i, b := range c.conds {
		switch {
		case b.Of != r.conds[i].Of:
			return false
		case b.Equal(r.conds[i]):
		case c.action == jumps && (b.And(r.conds[i]).Atom() >= 0 || b.Of == packet.Mark || b.Of == packet.ConnMark):
			return false // what comes back, perhaps with another mark, would jump again
		default:
			different++
		}
	}
	return different == 1
}

// setsOf is the packets for which a condition holds: those in all of the sets. It is not
// ok for a condition that is not known, or only in part; then sets is what is known.
func setsOf(m rule.Match, b rule.Backend) (sets []packet.Set, ok bool) {
	var s packet.Set
	switch m.Key {
	case rule.Source, rule.Destination:
		p, err := netip.ParsePrefix(m.Value)
		if err != nil {
			return nil, false
		}
		s = packet.From(p)
		if m.Key == rule.Destination {
			s = packet.To(p)
		}
	case rule.InLink:
		s = packet.ArrivedBy(m.Value)
	case rule.OutLink:
		s = packet.LeavesBy(m.Value)
	case rule.Protocol:
		s, ok = protocol(m.Value)
		switch {
		case !ok && m.Not:
			return nil, false
		case !ok: // some of those that are neither TCP nor UDP
			return []packet.Set{packet.Carrying(packet.Other)}, false
		}
	case rule.SourcePort, rule.DestPort, rule.OwnerUID, rule.OwnerGID, rule.PacketMark, rule.ConnMark:
		return numeric(m, b)
	case rule.ConnState:
		s, ok = stateSet(m.Value)
		if !ok {
			return nil, false
		}
	case rule.ConnDir:
		return direction(m)
	case rule.Other:
		return nil, false
	}
	if m.Not {
		s = s.Not()
	}
	return []packet.Set{s}, true
}

func protocol(name string) (packet.Set, bool) {
	switch name {
	case "tcp":
		return packet.Carrying(packet.TCP), true
	case "udp":
		return packet.Carrying(packet.UDP), true
	}
	return packet.Set{}, false
}

// numeric is setsOf for numbers and ranges of them.
func numeric(m rule.Match, b rule.Backend) (sets []packet.Set, ok bool) {
	of := map[rule.Key]packet.Property{
		rule.SourcePort: packet.SourcePort, rule.DestPort: packet.DestPort, rule.OwnerUID: packet.UID,
		rule.OwnerGID: packet.GID, rule.PacketMark: packet.Mark, rule.ConnMark: packet.ConnMark,
	}[m.Key]
	first, last, ok := interval(m.Value)
	if !ok {
		return nil, false
	}
	s := packet.Between(of, first, last)
	if m.Not {
		s = s.Not()
	}
	sets = []packet.Set{s}
	switch {
	case m.Key == rule.ConnMark:
		sets = append(sets, trackedSet())
	case m.Key == rule.SourcePort || m.Key == rule.DestPort:
		sets = append(sets, packet.Carrying(packet.TCP, packet.UDP))
	case m.Not && b == rule.NFTables && of == packet.UID:
		sets = append(sets, packet.OfUsers(packet.Nobody).Not())
	case m.Not && b == rule.NFTables && of == packet.GID:
		sets = append(sets, packet.OfGroups(packet.Nobody).Not())
	}
	return sets, true
}

// interval reads "N", "N:M" and "N-M".
func interval(text string) (first, last uint32, ok bool) {
	from, to, ranged := strings.Cut(text, ":")
	if !ranged {
		from, to, ranged = strings.Cut(text, "-")
	}
	if !ranged {
		to = from
	}
	a, errA := strconv.ParseUint(from, 0, 32)
	b, errB := strconv.ParseUint(to, 0, 32)
	return uint32(a), uint32(b), errA == nil && errB == nil && a <= b
}

func trackedSet() packet.Set {
	return packet.InState(packet.New, packet.Related, packet.Established, packet.Answer)
}

func stateSet(list string) (packet.Set, bool) {
	var states []packet.State
	for word := range strings.SplitSeq(list, ",") {
		switch word {
		case "NEW":
			states = append(states, packet.New)
		case "RELATED":
			states = append(states, packet.Related)
		case "ESTABLISHED":
			states = append(states, packet.Established, packet.Answer)
		case "INVALID":
			states = append(states, packet.Invalid)
		case "UNTRACKED":
			states = append(states, packet.Untracked)
		default: // SNAT and DNAT, what became of the connection
			return packet.Set{}, false
		}
	}
	return packet.InState(states...), true
}

// direction is setsOf for who sent a packet of a connection.
func direction(m rule.Match) ([]packet.Set, bool) {
	opener := m.Value == "ORIGINAL"
	if !opener && m.Value != "REPLY" {
		return nil, false
	}
	if opener == m.Not {
		return []packet.Set{packet.InState(packet.Answer)}, true
	}
	return []packet.Set{packet.InState(packet.New, packet.Related, packet.Established)}, true
}

// actionOf is what a target does; the word is the name of a foreign one.
func actionOf(t rule.Target) (action, string) {
	switch t.Action {
	case rule.Nothing:
		return goesOn, ""
	case rule.Returns:
		return returns, ""
	case rule.Accepts:
		return accepts, ""
	case rule.Drops:
		return drops, ""
	case rule.Jumps:
		return jumps, ""
	case rule.Redirects:
		return redirects, ""
	case rule.Diverts:
		return diverts, ""
	case rule.Marks:
		return marks, ""
	case rule.KeepsMark:
		return keepsMark, ""
	case rule.TakesMark:
		return takesMark, ""
	case rule.Zones:
		return zones, ""
	case rule.Foreign:
		return foreign(t.Text)
	}
	return unknown, ""
}

// foreign is what a target of others does, by the name that it begins with, in the
// spelling of iptables or of nft.
func foreign(text string) (action, string) {
	word, rest, _ := strings.Cut(text, " ")
	switch strings.ToUpper(word) {
	case "":
		return goesOn, ""
	case "LOG", "NFLOG", "ULOG", "TRACE", "AUDIT", "TCPMSS", "TCPOPTSTRIP", "TOS", "DSCP", "ECN", "TTL", "HL", "CHECKSUM", "CLASSIFY",
		"SET", "RATEEST", "IDLETIMER", "LED", "SECMARK", "CONNSECMARK", "TEE", "COUNTER":
		return goesOn, word
	case "REJECT":
		return drops, word
	case "NOTRACK":
		return untracks, word
	case "CT":
		if strings.Contains(rest, "notrack") {
			return untracks, word
		}
		return goesOn, word
	case "MARK", "CONNMARK":
		return confuses, word
	case "DNAT", "REDIRECT", "NETMAP", "TPROXY", "QUEUE", "NFQUEUE":
		return takes, word
	}
	return unknown, word
}
