package verify_test

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// walker takes one packet through the rules of interception, rule by rule, without
// classes, sets or atoms: what package model is checked against. It knows no rules of others.
type walker struct {
	rules  rule.Sets
	nft    bool // conditions on owners are those of nftables
	mark   uint32
	routed bool

	p       packet.Packet
	tracked bool
	out     packet.Outcome
	natDone bool
}

// decision is what becomes of the packet in a chain.
type decision int

const (
	goOn decision = iota
	back
	done // with the base chain
	gone
)

// walk is the outcome for p of what the rules of l do.
func walk(sets rule.Sets, c capture.Config, nft bool, p packet.Packet) packet.Outcome {
	w := &walker{rules: sets, nft: nft, mark: c.TProxyMark, routed: c.Mode == capture.TProxy, p: p}
	if p.In != "" {
		w.hook(rule.Prerouting)
	} else {
		w.hook(rule.Output)
		if w.p.Out == "lo" && w.out.Verdict != packet.Dropped {
			w.p.Out, w.p.In, w.p.UID, w.p.GID = "", "lo", packet.Nobody, packet.Nobody
			w.natDone = true
			w.hook(rule.Prerouting)
		}
	}
	if w.routed && w.out.Verdict != packet.Dropped {
		if w.p.Mark == w.mark {
			w.out.Bearing = packet.Inward
		}
		w.out.Inbound = w.p.ConnMark == w.mark
	}
	return w.out
}

func (w *walker) hook(c rule.Chain) {
	for _, t := range []rule.Table{rule.Raw, rule.Mangle, rule.Nat} {
		if t != rule.Raw {
			w.tracked = true
		}
		if t == rule.Nat && (w.natDone || w.p.State != packet.New && w.p.State != packet.Related) {
			continue
		}
		mark := w.p.Mark
		if w.chain(t, c) == gone {
			w.out.Verdict, w.out.Port = packet.Dropped, 0
			return
		}
		if t == rule.Mangle && c == rule.Output && w.routed && w.p.Mark != mark && w.p.Mark == w.mark {
			w.p.Out = "lo"
		}
	}
}

func (w *walker) chain(t rule.Table, c rule.Chain) decision {
	for _, r := range w.rules[t].Rules {
		if r.Chain != c || !w.matches(r) {
			continue
		}
		switch d := w.target(t, r); d {
		case goOn:
		case back:
			return goOn
		case done, gone:
			return d
		}
	}
	return goOn
}

func (w *walker) target(t rule.Table, r rule.Rule) decision {
	tracked := w.p.State.Tracked()
	switch r.Target.Action {
	case rule.Returns:
		return back
	case rule.Accepts:
		return done
	case rule.Drops:
		return gone
	case rule.Jumps:
		return w.chain(t, r.Target.Chain)
	case rule.Redirects:
		if t != rule.Nat {
			return gone
		}
		w.out.Verdict, w.out.Port, w.p.DestPort = packet.Redirected, r.Target.Port, r.Target.Port
		if w.p.In == "" {
			w.p.Out, w.p.Destination = "lo", netip.MustParseAddr("127.0.0.1")
			if w.p.Source.Is6() {
				w.p.Destination = netip.MustParseAddr("::1")
			}
		}
		return done
	case rule.Diverts:
		if t != rule.Mangle || w.p.In == "" || (r.Target.Family == rule.IPv4) != w.p.Source.Is4() {
			return gone
		}
		w.out.Verdict, w.out.Port, w.p.Mark = packet.Diverted, r.Target.Port, r.Target.Value
		return done
	case rule.Marks:
		w.p.Mark = r.Target.Value
	case rule.KeepsMark:
		if tracked && w.tracked {
			w.p.ConnMark = w.p.Mark
		}
	case rule.TakesMark:
		if tracked && w.tracked {
			w.p.Mark = w.p.ConnMark
		}
	case rule.Zones:
		if !w.tracked && w.out.Zone == 0 {
			w.out.Zone = uint16(r.Target.Value)
		}
	case rule.Nothing, rule.Foreign:
	}
	return goOn
}

func (w *walker) matches(r rule.Rule) bool {
	for _, m := range r.Match {
		if !w.holds(m) {
			return false
		}
	}
	return true
}

func (w *walker) holds(m rule.Match) bool {
	p := w.p
	numeric := func(n uint32) bool { return (strconv.FormatUint(uint64(n), 10) == m.Value) != m.Not }
	hex := func(n uint32) bool { return ("0x"+strconv.FormatUint(uint64(n), 16) == m.Value) != m.Not }
	state := p.State
	if !w.tracked {
		state = packet.Invalid
	}
	switch m.Key {
	case rule.Source:
		return netip.MustParsePrefix(m.Value).Contains(p.Source) != m.Not
	case rule.Destination:
		return netip.MustParsePrefix(m.Value).Contains(p.Destination) != m.Not
	case rule.InLink:
		return (p.In == m.Value) != m.Not
	case rule.OutLink:
		return (p.Out == m.Value) != m.Not
	case rule.Protocol:
		return (p.Protocol.String() == m.Value) != m.Not
	case rule.SourcePort:
		return p.Protocol != packet.Other && numeric(uint32(p.SourcePort))
	case rule.DestPort:
		return p.Protocol != packet.Other && numeric(uint32(p.DestPort))
	case rule.OwnerUID:
		return numeric(p.UID) && (!w.nft || p.UID != packet.Nobody)
	case rule.OwnerGID:
		return numeric(p.GID) && (!w.nft || p.GID != packet.Nobody)
	case rule.PacketMark:
		return hex(p.Mark)
	case rule.ConnMark:
		return state.Tracked() && hex(p.ConnMark)
	case rule.ConnState:
		names := map[packet.State]string{
			packet.New: "NEW", packet.Related: "RELATED", packet.Established: "ESTABLISHED", packet.Answer: "ESTABLISHED", packet.Invalid: "INVALID",
		}
		return slices.Contains(strings.Split(m.Value, ","), names[state]) != m.Not
	case rule.ConnDir:
		return state.Tracked() && ((state == packet.Answer) == (m.Value == "REPLY")) != m.Not
	case rule.Other:
	}
	panic("condition that no plan has: " + m.Value)
}
