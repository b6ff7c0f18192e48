package page

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

// pod is settings that readers look for.
type pod struct {
	title, line string
}

func pods() []pod {
	return []pod{
		{"default", "-i * -b * -d 15090,15021,15020"},
		{"TPROXY", "-m TPROXY -i * -b * -d 15090,15021,15020"},
		{"DNS capture", "-i * -b * -d 15090,15021,15020 --redirect-dns --capture-all-dns"},
		{"only 10.96.0.0/12 out, 8080 in", "-i 10.96.0.0/12 -b 8080 -d 15090,15021,15020"},
		{"without 10.96.0.0/12 and port 443 out, 8080 in", "-i * -x 10.96.0.0/12 -o 443 -b * -d 15090,15021,15020,8080"},
		{"interface net1 excluded", "-i * -b * -d 15090,15021,15020 -c net1"},
	}
}

// connection is a kind of traffic in words, with one packet of it in each family.
type connection struct {
	title string
	one   packet.Packet
	to    [2]string // address in IPv4 and IPv6
	from  [2]string // empty for the pod's
}

// The addresses of the page's pod and of others.
func podAddresses() [2]string     { return [2]string{"10.244.0.5", "fd00:10:244::5"} }
func serviceAddresses() [2]string { return [2]string{"10.96.0.10", "fd00:10:96::10"} }
func remoteAddresses() [2]string  { return [2]string{"192.0.2.7", "2001:db8::7"} }
func localhosts() [2]string       { return [2]string{"127.0.0.1", "::1"} }

func connections() []connection {
	sent := func(title string, p packet.Protocol, port uint16, to [2]string) connection {
		return connection{title: title, to: to, one: packet.Packet{Out: "eth0", Protocol: p, DestPort: port, UID: 1000, GID: 1000}}
	}
	local := func(c connection) connection {
		c.one.Out = packet.Lo
		return c
	}
	proxy := func(c connection) connection {
		c.one.UID, c.one.GID = capture.DefaultProxyID, capture.DefaultProxyID
		return c
	}
	arrived := func(title string, p packet.Protocol, port uint16) connection {
		return connection{title: title, to: podAddresses(), from: remoteAddresses(), one: packet.Packet{
			In: "eth0", Protocol: p, DestPort: port, UID: packet.Nobody, GID: packet.Nobody,
		}}
	}
	net1 := sent("application → any port by interface net1, TCP", packet.TCP, 8080, remoteAddresses())
	net1.one.Out = "net1"
	from := arrived("peer by interface net1 → port 9000, TCP", packet.TCP, 9000)
	from.one.In = "net1"
	source := local(proxy(sent("proxy, from 127.0.0.6 or ::6 → application", packet.TCP, 8080, podAddresses())))
	source.from = [2]string{"127.0.0.6", "::6"}
	return []connection{
		sent("application → a Service, TCP", packet.TCP, 8080, serviceAddresses()),
		sent("application → elsewhere, TCP", packet.TCP, 8080, remoteAddresses()),
		sent("application → elsewhere, TCP port 443", packet.TCP, 443, remoteAddresses()),
		sent("application → anywhere, UDP (QUIC included)", packet.UDP, 443, remoteAddresses()),
		sent("application → anywhere, neither TCP nor UDP (ping)", packet.Other, 0, remoteAddresses()),
		sent("application → name server, UDP", packet.UDP, 53, serviceAddresses()),
		sent("application → name server, TCP", packet.TCP, 53, serviceAddresses()),
		local(sent("application → own pod's address", packet.TCP, 8080, podAddresses())),
		local(sent("application → localhost", packet.TCP, 8080, localhosts())),
		net1,
		proxy(sent("proxy → anywhere outside", packet.TCP, 8080, remoteAddresses())),
		local(proxy(sent("proxy → own pod's address (the application called its own Service)", packet.TCP, 8080, podAddresses()))),
		source,
		local(proxy(sent("proxy → localhost", packet.TCP, 8080, localhosts()))),
		arrived("peer → port 8080, TCP", packet.TCP, 8080),
		arrived("peer → port 9000, TCP", packet.TCP, 9000),
		arrived("peer → agent's and proxy's ports 15020, 15021, 15090", packet.TCP, 15020),
		arrived("peer → tunnel port 15008", packet.TCP, 15008),
		arrived("peer → any port, UDP", packet.UDP, 8080),
		from,
	}
}

// capturedPage is what becomes of each kind of traffic, found by taking packets through the
// planned rules. It fails where that is not what is intended.
func capturedPage() ([]byte, error) {
	d := begin("What is captured and what is not", "initcontainer/plan, initcontainer/model and initcontainer/intent",
		"What becomes of the first packet of a connection, or of a datagram, in pods with the settings above each column (arguments of\n"+
			"the init container below). **out** is the proxy's outbound listener 15001, **in** its inbound listener 15006, **dns** the\n"+
			"agent's 15053; – is left alone. IPv4 and IPv6 are alike, and so are the three backends. For any other\n"+
			"packet, or settings, ask `sluice trace-packet`; that a running pod's rules do this for all packets shows\n"+
			"`sluice verify-rules`.")
	columns := []string{"connection"}
	for _, p := range pods() {
		columns = append(columns, p.title)
	}
	d.head("", columns...)
	for _, c := range connections() {
		cells := []string{c.title}
		for _, p := range pods() {
			cell, err := p.treats(c)
			if err != nil {
				return nil, err
			}
			cells = append(cells, cell)
		}
		d.row(cells...)
	}
	d.head("The settings", "column", "arguments")
	for _, p := range pods() {
		d.row(p.title, code(p.line))
	}
	return d.bytes(), nil
}

// treats is what becomes of c in the pod: the same in both families and on each backend.
func (p pod) treats(c connection) (string, error) {
	config, _, err := capture.Parse(strings.Split(p.line, " "), func(string) string { return "" })
	if err != nil {
		return "", fmt.Errorf("settings of column %q: %w", p.title, err)
	}
	cell := ""
	for _, f := range []rule.Family{rule.IPv4, rule.IPv6} {
		// What is said of IPv4's ranges is meant for IPv6's as well.
		both := config
		if f == rule.IPv6 {
			both.OutboundRanges.Prefixes = inIPv6(config.OutboundRanges.Prefixes)
			both.OutboundExcludeRanges = inIPv6(config.OutboundExcludeRanges)
		}
		one, sets := c.in(f), plan.Build(both, f).Rules
		for _, b := range []rule.Backend{rule.IPTablesNft, rule.IPTablesLegacy, rule.NFTables} {
			t := verify.Trace(both, f, rule.ListingOf(b, sets), one)
			if !t.Agrees() || len(t.Ways) != 1 {
				return "", fmt.Errorf("%s, %s: the plan does not do what is intended with %s", p.title, c.title, one)
			}
			now := word(config, t.Ways[0].Outcome)
			if cell != "" && now != cell {
				return "", fmt.Errorf("%s, %s: %s in %s on %s, else %s", p.title, c.title, now, f, b, cell)
			}
			cell = now
		}
	}
	return cell, nil
}

// in is the connection's packet in family f.
func (c connection) in(f rule.Family) packet.Packet {
	i := 0
	if f == rule.IPv6 {
		i = 1
	}
	from := c.from
	if from[i] == "" {
		from = podAddresses()
	}
	one := c.one
	one.Source, one.Destination = netip.MustParseAddr(from[i]), netip.MustParseAddr(c.to[i])
	if one.Protocol != packet.Other {
		one.SourcePort = 40000
	}
	return one
}

// inIPv6 is the ranges of Services in IPv6 where list has those of IPv4.
func inIPv6(list []netip.Prefix) []netip.Prefix {
	if len(list) == 0 {
		return nil
	}
	return []netip.Prefix{netip.MustParsePrefix("fd00:10:96::/108")}
}

// word is the outcome as a cell.
func word(c capture.Config, o packet.Outcome) string {
	switch {
	case o.Verdict == packet.Dropped:
		return "dropped"
	case o.Verdict == packet.Alone:
		return "–"
	case o.Port == c.OutboundPort:
		return "**out**"
	case o.Port == c.InboundPort:
		return "**in**"
	}
	return "**dns**"
}
