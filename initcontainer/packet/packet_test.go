package packet_test

import (
	"net/netip"
	"testing"

	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

func one() packet.Packet {
	return packet.Packet{
		Out: "eth0", Protocol: packet.TCP, Source: netip.MustParseAddr("10.0.0.5"), SourcePort: 40000,
		Destination: netip.MustParseAddr("192.0.2.7"), DestPort: 80, UID: 1000, GID: 1001,
	}
}

func TestPacketIs(t *testing.T) {
	p := one()
	tests := []struct {
		name string
		set  packet.Set
		want bool
	}{
		{"interface", packet.LeavesBy("lo", "eth0"), true},
		{"other interface", packet.LeavesBy("eth"), false},
		{"interfaces", packet.LeavesBy("eth+"), true},
		{"any interface", packet.LeavesBy("+"), true},
		{"no interface", packet.ArrivedBy("+"), false},
		{"sent", packet.ArrivedBy(""), true},
		{"range", packet.To(netip.MustParsePrefix("192.0.2.9/24")), true},
		{"other range", packet.To(netip.MustParsePrefix("192.0.2.8/32")), false},
		{"everywhere", packet.From(netip.MustParsePrefix("0.0.0.0/0")), true},
		{"not a range", packet.From(netip.MustParsePrefix("10.0.0.0/8")).Not(), false},
		{"one of no ranges", packet.From(), false},
		{"IPv6 mapped", packet.From(netip.MustParsePrefix("::/0")), true},
		{"port", packet.ToPorts(79, 80), true},
		{"not port", packet.ToPorts(79, 80).Not(), false},
		{"source port", packet.FromPorts(80), false},
		{"ports", packet.Between(packet.DestPort, 80, 90), true},
		{"user", packet.OfUsers(1001), false},
		{"group", packet.OfGroups(1001), true},
		{"no mark", packet.Marked(0), true},
		{"connection", packet.OfMarked(1), false},
		{"protocol", packet.Carrying(packet.UDP), false},
		{"state", packet.InState(packet.New, packet.Invalid), true},
	}
	for _, tt := range tests {
		if got := p.Is(&tt.set); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
		space := packet.NewSpace(rule.IPv4, append(packet.SetsOf(p), &tt.set))
		if tt.name == "IPv6 mapped" {
			continue // no set of a space of IPv4
		}
		if some, all := space.Only(p).Meets(space.Bits(&tt.set)); some != tt.want || all != tt.want {
			t.Errorf("%s: class: %t %t", tt.name, some, all)
		}
	}
}

func TestClassInWords(t *testing.T) {
	narrow := packet.To(netip.MustParsePrefix("10.96.0.0/12"))
	ports, user := packet.ToPorts(80, 443), packet.OfUsers(1337)
	eth := packet.LeavesBy("eth+")
	sets := []*packet.Set{&narrow, &ports, &user, &eth}
	for _, f := range []rule.Family{rule.IPv4} {
		space := packet.NewSpace(f, sets)
		class := space.Possible(f, true, 0)[0] // sent over others than lo, first packets
		for i, tt := range []struct {
			class packet.Class
			want  string
		}{
			{class, "sent over any but lo; to any but 127.0.0.0/8; new, related, invalid"},
			{class.And(space.Bits(&narrow)).And(space.Bits(&ports)), "sent over any but lo; to 10.96.0.0/12; to port 80, 443; new, related, invalid"},
			{class.Minus(space.Bits(&ports)).Minus(space.Bits(&user)), "sent over any but lo; by uid any but 1337; to any but 127.0.0.0/8; to port any but 80, 443; new, related, invalid"},
		} {
			if got := tt.class.String(); got != tt.want {
				t.Errorf("class %d: %s\nwant: %s", i, got, tt.want)
			}
			p := tt.class.Example()
			if p.Out != "eth0" || p.UID != 1000 || p.State != packet.New || !p.Destination.Is4() {
				t.Errorf("class %d: example %s", i, p)
			}
			if some, all := space.Only(p).Meets(tt.class.Of(packet.Destination)); !some || !all {
				t.Errorf("class %d: its example %s is not in it", i, p)
			}
		}
	}
}

func TestPacketInWords(t *testing.T) {
	p := one()
	if got, want := p.String(), "tcp 10.0.0.5:40000 → 192.0.2.7:80, sent over eth0 by uid 1000 gid 1001"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	p.Protocol, p.In, p.Out, p.State, p.Mark, p.ConnMark = packet.Other, "eth0", "", packet.Answer, 5, 6
	if got, want := p.String(), "other 10.0.0.5 → 192.0.2.7, arrived by eth0, answer, mark 5, of a connection with mark 6"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestOutcome(t *testing.T) {
	got := packet.Outcome{Verdict: packet.Redirected, Port: 15001}
	for _, tt := range []struct {
		want packet.Outcome
		ok   bool
	}{
		{packet.Outcome{Verdict: packet.Redirected, Port: 15001, Because: "why"}, true},
		{packet.Outcome{Verdict: packet.Redirected, Port: 15001, Bearing: packet.Either}, true},
		{packet.Outcome{Verdict: packet.Redirected, Port: 15001, Bearing: packet.Inward}, false},
		{packet.Outcome{Verdict: packet.Redirected, Port: 15001, Inbound: true}, false},
		{packet.Outcome{Verdict: packet.Redirected, Port: 15001, Zone: 1}, false},
		{packet.Outcome{Verdict: packet.Redirected, Port: 15006}, false},
		{packet.Outcome{Verdict: packet.Diverted, Port: 15001}, false},
		{packet.Outcome{}, false},
	} {
		if got.Satisfies(tt.want) != tt.ok {
			t.Errorf("%s satisfies %s: %t", got, tt.want, !tt.ok)
		}
	}
}

// FuzzSpan checks that a prefix holds the same addresses in a set as in package netip.
func FuzzSpan(f *testing.F) {
	f.Add("10.0.0.0/8", "10.255.255.255")
	f.Add("::/0", "::1")
	f.Add("2001:db8::/65", "2001:db8::8000:0:0:1")
	f.Fuzz(func(t *testing.T, text, addr string) {
		r, err := netip.ParsePrefix(text)
		a, errA := netip.ParseAddr(addr)
		if err != nil || errA != nil || a.Zone() != "" || a.Is4() != r.Addr().Is4() || a.Is4In6() || r.Addr().Is4In6() {
			return
		}
		set := packet.To(r)
		if got := (packet.Packet{Destination: a}).Is(&set); got != r.Contains(a) {
			t.Errorf("%s in %s: %t", a, r, got)
		}
	})
}
