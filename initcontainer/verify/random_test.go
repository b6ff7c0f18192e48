package verify_test

import (
	"math/rand/v2"
	"net/netip"
	"strconv"

	"github.com/sluicemesh/sluice/internal/capture"
	"github.com/sluicemesh/sluice/internal/ports"

	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// some is a few of list, in random order, each at most once.
func some[T any](r *rand.Rand, list ...T) []T {
	var out []T
	for _, i := range r.Perm(len(list))[:r.IntN(min(4, len(list)+1))] {
		out = append(out, list[i])
	}
	return out
}

func one[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// randomConfig combines options, each left alone as often as not.
func randomConfig(r *rand.Rand) capture.Config {
	ranges := []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.96.0.0/12"), netip.MustParsePrefix("8.8.8.8/32"),
		netip.MustParsePrefix("127.0.0.5/32"), netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("2001:db8::/32"),
		netip.MustParsePrefix("2001:db8:7::/48"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("::/0"), netip.MustParsePrefix("10.96.0.10/32"),
	}
	numbers := []uint16{22, 53, 80, 8080, 15001, 15002, 15006, 15008, 15020, 15053}
	c := capture.Default()
	c.Mode = one(r, capture.Redirect, capture.TProxy)
	maybe := func(set func()) {
		if r.IntN(2) == 0 {
			set()
		}
	}
	maybe(func() { c.OutboundRanges = capture.Ranges{Prefixes: some(r, ranges...)} })
	maybe(func() { c.OutboundExcludeRanges = some(r, ranges...) })
	maybe(func() { c.InboundPorts = capture.Ports{List: some(r, numbers...)} })
	maybe(func() { c.InboundExcludePorts = some(r, numbers...) })
	maybe(func() { c.OutboundPorts = some(r, numbers...) })
	maybe(func() { c.OutboundExcludePorts = some(r, numbers...) })
	maybe(func() { c.ExcludeInterfaces = some(r, "net1", "net2", "lo") })
	maybe(func() { c.VirtualInterfaces = some(r, "net1", "net3", "eth0") })
	maybe(func() { c.ProxyUIDs = append(some(r, uint32(0), 1000, 2000), 1337) })
	maybe(func() { c.ProxyGIDs = append(some(r, uint32(0), 888, 2000), 1337) })
	maybe(func() { c.OwnerGroups = capture.Groups{List: some(r, uint32(7), 888, 1337)} })
	maybe(func() { c.OwnerGroupsExcluded = some(r, uint32(7), 888, 1337) })
	maybe(func() { c.DropInvalid = true })
	maybe(func() { c.RedirectDNS, c.CaptureAllDNS = true, r.IntN(2) == 0 })
	maybe(func() {
		c.DNSServers = some(r, netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("127.0.0.53"), netip.MustParseAddr("2001:db8::53"))
	})
	if r.IntN(4) == 0 {
		c.TunnelPort = one(r, numbers...)
	}
	if r.IntN(4) == 0 {
		c.Loopback = netip.MustParsePrefix(one(r, "127.0.0.0/8", "127.0.0.4/30"))
	}
	if r.IntN(4) == 0 {
		c.TProxyMark = one(r, uint32(17), 1336, 1<<20)
	}
	return c
}

// values are those of properties at which rules and settings may change their minds.
type values struct {
	addrs []netip.Addr
	ports []uint16
	ids   []uint32
	links []string
	marks []uint32
}

// valuesOf is the values in the rules and those next to them, and what every host has.
func valuesOf(c capture.Config, f rule.Family, sets rule.Sets) values {
	v := values{
		ids: []uint32{0, 1, 7, 888, 1000, 1337, 1338, 2000}, links: []string{"eth0", "net1", "net2", "net3"},
		marks: []uint32{0, 1, c.TProxyMark, c.TProxyMark + 2},
	}
	names := []string{"10.244.0.5", "192.0.2.7", "127.0.0.1", "127.0.0.5", "127.0.0.6", "127.0.0.7", "127.0.0.53", "10.96.0.10", "10.1.2.3", "8.8.8.8"}
	if f == rule.IPv6 {
		names = []string{"fd00:10:244::5", "2001:db8::7", "::1", "::6", "::7", "2001:db8::53", "2001:db8:7::1"}
	}
	for _, name := range names {
		v.addrs = append(v.addrs, netip.MustParseAddr(name))
	}
	near := func(n uint16) { v.ports = append(v.ports, n, n-1, n+1) }
	for _, n := range []uint16{53, 80, c.TunnelPort, c.InboundPort, c.OutboundPort, ports.ValidationProbe, ports.AgentDNS} {
		near(n)
	}
	for _, set := range sets {
		for _, r := range set.Rules {
			for _, m := range r.Match {
				v.add(m, near)
			}
		}
	}
	return v
}

func (v *values) add(m rule.Match, near func(uint16)) {
	n, _ := strconv.ParseUint(m.Value, 0, 32)
	switch m.Key {
	case rule.Source, rule.Destination:
		first := netip.MustParsePrefix(m.Value).Addr()
		for _, a := range []netip.Addr{first, first.Prev(), first.Next()} {
			if a.IsValid() {
				v.addrs = append(v.addrs, a)
			}
		}
	case rule.SourcePort, rule.DestPort:
		near(uint16(n))
	case rule.OwnerUID, rule.OwnerGID:
		v.ids = append(v.ids, uint32(n), uint32(n)+1)
	case rule.InLink, rule.OutLink:
		if m.Value != "lo" {
			v.links = append(v.links, m.Value)
		}
	default:
	}
}

// packet is a random one, as there can be.
func (v *values) packet(r *rand.Rand) packet.Packet {
	p := packet.Packet{
		Protocol: one(r, packet.TCP, packet.TCP, packet.TCP, packet.UDP, packet.Other),
		Source:   one(r, v.addrs...), Destination: one(r, v.addrs...),
		State: one(r, packet.New, packet.New, packet.New, packet.Related, packet.Established, packet.Answer, packet.Invalid),
		UID:   packet.Nobody, GID: packet.Nobody,
	}
	if p.Protocol != packet.Other {
		p.SourcePort, p.DestPort = one(r, v.ports...), one(r, v.ports...)
	}
	if p.State == packet.Established || p.State == packet.Answer {
		p.ConnMark = one(r, v.marks...)
	}
	if r.IntN(3) == 0 {
		p.In = one(r, v.links...)
		return p
	}
	p.Out = one(r, append([]string{"lo", "lo", "lo", "lo"}, v.links...)...)
	localhost := netip.MustParsePrefix("127.0.0.0/8")
	if p.Source.Is6() {
		localhost = netip.MustParsePrefix("::1/128")
	}
	if localhost.Contains(p.Destination) {
		p.Out = "lo"
	}
	p.Mark = one(r, 0, 0, one(r, v.marks...))
	if r.IntN(8) > 0 {
		p.UID, p.GID = one(r, v.ids...), one(r, v.ids...)
	}
	return p
}
