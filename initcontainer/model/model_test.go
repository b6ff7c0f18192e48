package model_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sluicemesh/sluice/initcontainer/model"
	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// listing reads lines "BACKEND TABLE -A CHAIN ...".
func listing(t *testing.T, lines []string) rule.Listing {
	t.Helper()
	l := rule.Listing{Rules: map[rule.Place][]rule.Rule{}}
	for _, line := range lines {
		words := strings.SplitN(line, " ", 3)
		backend, table := rule.Backend(words[0]), words[1]
		r, err := rule.Parse(words[2])
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range rule.Bases(backend, rule.Table(table)) {
			if _, there := l.Rules[b.Place]; !there {
				l.Bases = append(l.Bases, b)
				l.Rules[b.Place] = nil
			}
		}
		at := rule.Place{Backend: backend, Table: table, Chain: r.Chain}
		l.Rules[at] = append(l.Rules[at], r)
	}
	return l
}

// ways is the ways of one packet; walking it without a trace must end alike.
func ways(t *testing.T, l rule.Listing, routing model.Routing, p packet.Packet) []model.Way {
	t.Helper()
	m := model.New(l, rule.IPv4, routing)
	space := packet.NewSpace(rule.IPv4, append(m.Sets(), packet.SetsOf(p)...))
	m.Bind(space)
	traced := m.Trace(space.Only(p))
	i := 0
	m.Explore(space.Only(p), func(w model.Way) bool {
		if i >= len(traced) || w.Outcome != traced[i].Outcome {
			t.Errorf("%s is %s without a trace, with one %+v", p, w.Outcome, traced)
		}
		i++
		return true
	})
	return traced
}

func sent(change ...func(*packet.Packet)) packet.Packet {
	p := packet.Packet{
		Out: "eth0", Protocol: packet.TCP, Source: netip.MustParseAddr("10.0.0.5"), SourcePort: 40000,
		Destination: netip.MustParseAddr("192.0.2.7"), DestPort: 80, UID: 1000, GID: 1000,
	}
	for _, f := range change {
		f(&p)
	}
	return p
}

func arrived(change ...func(*packet.Packet)) packet.Packet {
	return sent(append([]func(*packet.Packet){func(p *packet.Packet) {
		p.In, p.Out, p.UID, p.GID = "eth0", "", packet.Nobody, packet.Nobody
	}}, change...)...)
}

func overLo(p *packet.Packet)      { p.Out = packet.Lo }
func byNobody(p *packet.Packet)    { p.UID, p.GID = packet.Nobody, packet.Nobody }
func established(p *packet.Packet) { p.State = packet.Established }
func invalid(p *packet.Packet)     { p.State = packet.Invalid }
func ofMark5(p *packet.Packet)     { p.ConnMark, p.State = 5, packet.Answer }

// TestKernel holds what is known of the kernel's way through rules.
func TestKernel(t *testing.T) {
	const ours = "iptables-nft nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001"
	tests := []struct {
		name   string
		packet packet.Packet
		want   string
		lines  []string
	}{
		{"redirected", sent(), "redirected to 15001", []string{ours}},
		{"nat sees first packets only", sent(established), "left alone", []string{ours}},
		{"nat does not see what has no connection", sent(invalid), "left alone", []string{ours}},
		{"nat decides once", sent(), "redirected to 1", []string{"iptables-nft nat -A OUTPUT -p tcp -j REDIRECT --to-ports 1", ours}},
		{"nat has decided when it comes in again over lo", sent(overLo), "left alone", []string{"iptables-nft nat -A PREROUTING -p tcp -j REDIRECT --to-ports 15006"}},
		{"mangle sees what comes in again over lo", sent(overLo), "dropped", []string{"iptables-nft mangle -A PREROUTING -i lo -j DROP"}},
		{"it has no owner then", sent(overLo), "left alone", []string{"iptables-nft mangle -A PREROUTING -m owner --uid-owner 1000 -j DROP"}},
		{"what is redirected comes in again over lo", sent(), "dropped", []string{ours, "iptables-nft mangle -A PREROUTING -d 127.0.0.1/32 -i lo -p tcp -m tcp --dport 15001 -j DROP"}},
		{"accepting ends the table, not the others", sent(), "redirected to 15001", []string{"iptables-nft mangle -A OUTPUT -j ACCEPT", ours}},
		{"accepting in nat ends that chain", sent(), "left alone", []string{"iptables-nft nat -A OUTPUT -j ACCEPT", ours}},
		{"other backends' chains go on", sent(), "redirected to 15001", []string{"iptables-legacy nat -A OUTPUT -j ACCEPT", ours}},
		{"returning from a chain", sent(), "redirected to 15001", []string{"iptables-nft nat -A OUTPUT -j X", "iptables-nft nat -A X -j RETURN", "iptables-nft nat -A X -j DROP", ours}},
		{"going to a chain", sent(), "left alone", []string{"iptables-nft nat -A OUTPUT -g X", "iptables-nft nat -A X -p udp -j DROP", ours}},
		{"first zone", sent(), "left alone, conntrack zone 1", []string{"iptables-nft raw -A OUTPUT -j CT --zone 1", "iptables-nft raw -A OUTPUT -j CT --zone 2"}},
		{"no zone over lo again", sent(overLo), "left alone", []string{"iptables-nft raw -A PREROUTING -j CT --zone 1"}},
		{"no connection in raw", sent(established), "left alone", []string{"iptables-nft raw -A OUTPUT -m conntrack --ctstate ESTABLISHED -j DROP"}},
		{"connection in raw over lo again", sent(established, overLo), "dropped", []string{"iptables-nft raw -A PREROUTING -m conntrack --ctstate ESTABLISHED -j DROP"}},
		{"untracked", arrived(), "left alone", []string{"iptables-nft raw -A PREROUTING -j NOTRACK", "iptables-nft nat -A PREROUTING -p tcp -j REDIRECT --to-ports 15006"}},
		{"nobody, not a user, in iptables", sent(byNobody), "dropped", []string{"iptables-nft mangle -A OUTPUT -m owner ! --uid-owner 1337 -j DROP"}},
		{"nobody, not a user, in nftables", sent(byNobody), "left alone", []string{"nftables mangle -A OUTPUT -m owner ! --uid-owner 1337 -j DROP"}},
		{"no mark of no connection", sent(invalid), "left alone", []string{"iptables-nft mangle -A OUTPUT -m connmark ! --mark 0x5 -j DROP"}},
		{"direction", sent(established), "left alone", []string{"iptables-nft mangle -A OUTPUT -m conntrack --ctdir REPLY -j DROP"}},
		{"routed by mark", sent(ofMark5), "dropped", []string{
			"iptables-nft mangle -A OUTPUT -m connmark --mark 0x5 -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
			"iptables-nft mangle -A PREROUTING -i lo -m mark --mark 0x5 -j DROP"}},
		{"mark kept", sent(func(p *packet.Packet) { p.Mark, p.Out = 5, packet.Lo }), "left alone, marked for this host, connection marked inbound", []string{
			"iptables-nft mangle -A OUTPUT -m mark --mark 0x5 -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff"}},
		{"diverted", arrived(), "diverted to 15006, marked for this host", []string{
			"iptables-nft mangle -A PREROUTING -p tcp -j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x5/0xffffffff", "iptables-nft mangle -A PREROUTING -j DROP"}},
		{"mark changed by a chain", sent(func(p *packet.Packet) { p.Mark = 1 }), "dropped", []string{
			"iptables-nft mangle -A OUTPUT -m mark --mark 0x1 -j X", "iptables-nft mangle -A OUTPUT -m mark --mark 0x2 -j X",
			"iptables-nft mangle -A X -m mark --mark 0x2 -j DROP", "iptables-nft mangle -A X -j MARK --set-xmark 0x2/0xffffffff"}},
		{"port range", sent(), "dropped", []string{"iptables-nft mangle -A OUTPUT -p tcp -m tcp --dport 79:81 -j DROP"}},
		{"rejected", sent(), "dropped", []string{"iptables-nft mangle -A OUTPUT -j REJECT"}},
		{"logged", sent(), "redirected to 15001", []string{"iptables-nft nat -A OUTPUT -j LOG", ours}},
		{"sent elsewhere", sent(), "taken elsewhere", []string{"iptables-nft nat -A OUTPUT -p tcp -j DNAT --to-destination 10.0.0.9", ours}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ways(t, listing(t, tt.lines), model.Routing{Mark: 5, Marked: true}, tt.packet)
			if len(got) != 1 || got[0].Outcome.String() != tt.want || got[0].Unsure {
				t.Errorf("%+v, want %s", got, tt.want)
			}
		})
	}
}

func TestPolicy(t *testing.T) {
	l := listing(t, []string{"iptables-nft mangle -A OUTPUT -p udp -j RETURN"})
	for i := range l.Bases {
		l.Bases[i].Drops = true
	}
	if got := ways(t, l, model.Routing{}, sent()); len(got) != 1 || got[0].Outcome.Verdict != packet.Dropped {
		t.Errorf("%+v, want dropped by the policy", got)
	}
}

// TestUnsure: what is not known of rules of others is gone both ways.
func TestUnsure(t *testing.T) {
	for line, want := range map[string]int{
		"iptables-nft mangle -A OUTPUT -m statistic --mode random --probability 0.5 -j DROP":               2,
		"iptables-nft mangle -A OUTPUT -p udp -m statistic --mode random --probability 0.5 -j DROP":        1,
		"iptables-nft mangle -A OUTPUT -m statistic --mode random --probability 0.5 -j LOG":                1,
		"iptables-nft mangle -A OUTPUT -j STRANGE --option 5":                                              2,
		"iptables-nft mangle -A OUTPUT -j MARK --set-xmark 0x1/0xff":                                       4,
		"iptables-nft mangle -A OUTPUT -m connmark --mark 0x1/0x1 -j DROP":                                 2,
		"iptables-nft mangle -A OUTPUT -p icmp -m statistic --mode random --probability 0.5 -j DROP":       1,
		"iptables-nft mangle -A OUTPUT -p tcp -m multiport --dports 80,443 -m owner --uid-owner 7 -j DROP": 1,
	} {
		got := ways(t, listing(t, []string{line}), model.Routing{Mark: 5, Marked: true}, sent())
		if len(got) != want || want > 1 && !got[0].Unsure {
			t.Errorf("%s: %d ways, want %d: %+v", line, len(got), want, got)
		}
	}
}

// TestManyUnknown: ever so many rules of others that are not understood end in time.
func TestManyUnknown(t *testing.T) {
	var lines []string
	for range 200 {
		lines = append(lines, "iptables-nft nat -A OUTPUT -m addrtype --dst-type LOCAL -j X")
	}
	lines = append(lines, "iptables-nft nat -A X -m addrtype --src-type LOCAL -j RETURN")
	l := listing(t, lines)
	m := model.New(l, rule.IPv4, model.Routing{})
	space := packet.NewSpace(rule.IPv4, m.Sets())
	m.Bind(space)
	n := 0
	for _, class := range space.Possible(rule.IPv4, false, 0) {
		if !m.Explore(class, func(w model.Way) bool { n++; return w.Outcome.Verdict == packet.Alone }) {
			t.Fatal("given up")
		}
	}
	if n == 0 || n > 1000 {
		t.Errorf("%d ways", n)
	}
}
