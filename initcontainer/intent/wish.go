package intent

import (
	"net/netip"

	"github.com/sluicemesh/sluice/internal/capture"
	"github.com/sluicemesh/sluice/internal/ports"

	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Wish is settings in the form in which many packets can be asked about them.
type Wish struct {
	config capture.Config
	traits
	choices

	tproxy        bool
	dns           bool // queries are captured
	queries       bool // queries of this family are
	opensLoopback bool // the user asks for a range of the loopback of this family
	probesMatter  bool // without a word on them, probes would not be captured
}

// traits are properties of packets that do not depend on the user's choice.
type traits struct {
	sent, overLo, tcp, udp         packet.Set
	first, opener, answer, invalid packet.Set
	source, toSource               packet.Set // the address from which the proxy calls its application
	toProbe, toQuery               packet.Set // ports
	fromQuery, fromAgent           packet.Set // ports
}

// choices are the values of the options.
type choices struct {
	localhost, tunnel               packet.Set
	users, groups                   packet.Set // of the proxy
	members, outsiders              packet.Set // groups whose processes are captured, and are not
	excludedOut, excludedIn, guests packet.Set // interfaces
	excludedPorts, includedPorts    packet.Set
	excludedRanges, includedRanges  packet.Set
	inboundPorts, inboundExcluded   packet.Set
	toServers, fromServers          packet.Set
	bearsMark, ofInbound            packet.Set
}

// New prepares c for packets of family f. c must pass its Validate.
func New(c capture.Config, f rule.Family) *Wish {
	source, localhost := netip.MustParsePrefix("127.0.0.6/32"), c.Loopback
	if f == rule.IPv6 {
		source, localhost = netip.MustParsePrefix("::6/128"), netip.MustParsePrefix("::1/128")
	}
	w := &Wish{config: c, traits: traitsOf(source), tproxy: c.Mode == capture.TProxy}
	w.choices = choicesOf(c, f)
	w.localhost = packet.To(localhost)
	w.probesMatter = w.tproxy || localhost.Contains(source.Addr()) || c.TunnelPort == ports.ValidationProbe
	for _, p := range ofFamily(c.OutboundRanges.Prefixes, f) {
		w.opensLoopback = w.opensLoopback || p.Masked().Addr().IsLoopback()
	}
	servers := serversOf(c, f)
	w.toServers, w.fromServers = packet.To(servers...), packet.From(servers...)
	w.dns = c.RedirectDNS && (c.CaptureAllDNS || len(c.DNSServers) > 0)
	w.queries = w.dns && len(servers) > 0
	return w
}

func traitsOf(source netip.Prefix) traits {
	return traits{
		sent:      packet.ArrivedBy(""),
		overLo:    packet.LeavesBy(packet.Lo),
		tcp:       packet.Carrying(packet.TCP),
		udp:       packet.Carrying(packet.UDP),
		first:     packet.InState(packet.New, packet.Related),
		opener:    packet.InState(packet.Established),
		answer:    packet.InState(packet.Answer),
		invalid:   packet.InState(packet.Invalid),
		source:    packet.From(source),
		toSource:  packet.To(source),
		toProbe:   packet.ToPorts(ports.ValidationProbe),
		toQuery:   packet.ToPorts(portOfDNS),
		fromQuery: packet.FromPorts(portOfDNS),
		fromAgent: packet.FromPorts(ports.AgentDNS),
	}
}

// portOfDNS is where name servers listen.
const portOfDNS uint16 = 53

func choicesOf(c capture.Config, f rule.Family) choices {
	all := packet.OfGroups().Not()
	out := choices{
		tunnel:          packet.ToPorts(c.TunnelPort),
		users:           packet.OfUsers(c.ProxyUIDs...),
		groups:          packet.OfGroups(c.ProxyGIDs...),
		members:         packet.OfGroups(c.OwnerGroups.List...),
		excludedOut:     packet.LeavesBy(c.ExcludeInterfaces...),
		excludedIn:      packet.ArrivedBy(c.ExcludeInterfaces...),
		guests:          packet.ArrivedBy(c.VirtualInterfaces...),
		excludedPorts:   packet.ToPorts(c.OutboundExcludePorts...),
		includedPorts:   packet.ToPorts(c.OutboundPorts...),
		excludedRanges:  packet.To(ofFamily(c.OutboundExcludeRanges, f)...),
		includedRanges:  packet.To(ofFamily(c.OutboundRanges.Prefixes, f)...),
		inboundPorts:    packet.ToPorts(c.InboundPorts.List...),
		inboundExcluded: packet.ToPorts(c.InboundExcludePorts...),
		bearsMark:       packet.Marked(c.TProxyMark),
		ofInbound:       packet.OfMarked(c.TProxyMark),
	}
	if c.OwnerGroups.All {
		out.members = all
		out.outsiders = packet.OfGroups(c.OwnerGroupsExcluded...)
	} else {
		out.outsiders = packet.OfGroups()
	}
	return out
}

// serversOf is where queries of family f are captured to, as ranges.
func serversOf(c capture.Config, f rule.Family) []netip.Prefix {
	if c.CaptureAllDNS {
		if f == rule.IPv6 {
			return []netip.Prefix{netip.MustParsePrefix("::/0")}
		}
		return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	}
	var list []netip.Prefix
	for _, a := range c.DNSServers {
		a = a.Unmap().WithZone("")
		list = append(list, netip.PrefixFrom(a, a.BitLen()))
	}
	return ofFamily(list, f)
}

// ofFamily is the ranges of family f.
func ofFamily(list []netip.Prefix, f rule.Family) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range list {
		if p.Addr().Is4() == (f == rule.IPv4) {
			out = append(out, p)
		}
	}
	return out
}

// Sets is what a space must be made for, so that its classes can be asked.
func (w *Wish) Sets() []*packet.Set {
	t, c := &w.traits, &w.choices
	return []*packet.Set{
		&t.sent, &t.overLo, &t.tcp, &t.udp, &t.first, &t.opener, &t.answer, &t.invalid, &t.source, &t.toSource,
		&t.toProbe, &t.toQuery, &t.fromQuery, &t.fromAgent,
		&c.localhost, &c.tunnel, &c.users, &c.groups, &c.members, &c.outsiders, &c.excludedOut, &c.excludedIn, &c.guests,
		&c.excludedPorts, &c.includedPorts, &c.excludedRanges, &c.includedRanges, &c.inboundPorts, &c.inboundExcluded,
		&c.toServers, &c.fromServers, &c.bearsMark, &c.ofInbound,
	}
}
