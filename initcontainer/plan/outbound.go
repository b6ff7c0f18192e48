package plan

import (
	"net/netip"
	"slices"

	"github.com/sluicemesh/sluice/internal/capture"
	"github.com/sluicemesh/sluice/internal/ports"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// outbound plans what processes of the pod send. The order decides: exclusions by
// interface and port beat everything, then come the proxy's own connections, then those of
// other processes that are left alone, then the user's choice of destinations.
func (b *builder) outbound() {
	for _, link := range unique(b.config.ExcludeInterfaces) {
		b.add(rule.Outbound, "exclude-interface", rule.Return(), rule.Leaving(link))
	}
	b.excludedPorts(rule.Outbound)
	b.add(rule.Outbound, "proxy-to-application", rule.Return(), rule.From(ProxySource(b.family)), rule.OverLoopback())
	b.proxy()
	c := b.ownerGroups()
	b.queries(c)
	b.local(c)
	b.destinations(c)
	b.add(rule.Output, "outbound", rule.Jump(rule.Outbound), rule.TCP())
}

// local leaves alone, in chain c, what stays in the pod.
func (b *builder) local(c rule.Chain) {
	switch {
	case b.capturesLoopback():
		b.add(c, "localhost", rule.Return(), rule.To(b.localhost()))
	case b.asksAgent() && !b.config.CaptureAllDNS:
		// As in Istio, a query to a server in the pod that resolv.conf does not list is a
		// connection like those to other hosts, except to localhost.
		b.add(c, "local", rule.Return(), rule.OverLoopback(), rule.TCP(), rule.ToPort(dnsPort).Negate())
		b.add(c, "localhost", rule.Return(), rule.To(b.localhost()))
	default:
		b.add(c, "local", rule.Return(), rule.OverLoopback())
	}
}

// guests plans what enters by virtual interfaces: a virtual machine or container in the
// pod sent it, so it goes where the pod's own connections would, and it is never inbound.
// (In Istio the user's exclusions do not hold for it.)
func (b *builder) guests() {
	if !b.capturesOutbound() || len(b.config.VirtualInterfaces) == 0 {
		return
	}
	b.excludedPorts(rule.Guests)
	b.destinations(rule.Guests)
	for _, link := range unique(b.config.VirtualInterfaces) {
		b.add(rule.Inbound, "guest", rule.Jump(rule.Guests), rule.Entering(link), rule.TCP())
	}
}

// IgnoresGuests reports whether c names virtual interfaces and captures nothing of what
// enters by them.
func IgnoresGuests(c capture.Config) bool {
	to := c.OutboundRanges
	return len(c.VirtualInterfaces) > 0 && !to.All && len(to.Prefixes) == 0 && len(c.OutboundPorts) == 0
}

// proxy plans the proxy's own connections: left alone, but for those to the pod itself.
//
// An application that calls a Service may be sent back to its own pod by the proxy; that
// connection goes over lo and must still pass the inbound listener. With TPROXY table
// mangle sees to it (see marks).
func (b *builder) proxy() {
	if !b.tproxy {
		if b.asksAgent() && b.config.TunnelPort != dnsPort {
			for _, owner := range b.owners() {
				b.add(rule.Outbound, "agent-query", rule.Return(), rule.TCP(), rule.ToPort(dnsPort), owner)
			}
		}
		for _, owner := range b.owners() {
			b.add(rule.Outbound, "call-to-self", rule.Jump(rule.InRedirect), append(b.selfCall(), owner)...)
		}
	}
	if b.tproxy || b.localhost().Contains(ProxySource(b.family).Addr()) || b.config.TunnelPort == ports.ValidationProbe {
		// The check of an unprivileged container, whose listener cannot be transparent, needs
		// one address that is always redirected.
		for _, owner := range b.owners() {
			b.add(rule.Outbound, "validation", rule.Jump(rule.InRedirect), append(b.probe(), owner)...)
		}
	}
	for _, owner := range b.owners() {
		b.add(rule.Outbound, "proxy", rule.Return(), owner)
	}
}

// selfCall matches the connections of a process to its own pod that the proxy's own must
// make through the inbound listener.
func (b *builder) selfCall() []rule.Match {
	return []rule.Match{
		rule.To(b.localhost()).Negate(), rule.OverLoopback(), rule.TCP(), rule.ToPort(b.config.TunnelPort).Negate(),
	}
}

// probe matches the connections by which a container finds out that rules are in force.
func (b *builder) probe() []rule.Match {
	return []rule.Match{
		rule.To(ProxySource(b.family)), rule.OverLoopback(), rule.TCP(), rule.ToPort(ports.ValidationProbe),
	}
}

// ownerGroups leaves alone processes by their group, and returns the chain that decides
// about the others.
//
// Those of listed groups are sent to a chain of their own. A rule that returns what has none
// of the groups would be shorter, but packets without an owner do not meet it in nftables.
func (b *builder) ownerGroups() rule.Chain {
	if groups := b.config.OwnerGroups; !groups.All {
		for _, id := range unique(groups.List) {
			b.add(rule.Outbound, "owner-groups", rule.Jump(rule.Members), rule.ByGID(id))
		}
		return rule.Members
	}
	for _, id := range unique(b.config.OwnerGroupsExcluded) {
		b.add(rule.Outbound, "exclude-owner-group", rule.Return(), rule.ByGID(id))
	}
	return rule.Outbound
}

// excludedPorts leaves alone connections to the user's excluded ports in chain c.
func (b *builder) excludedPorts(c rule.Chain) {
	for _, p := range unique(b.config.OutboundExcludePorts) {
		b.add(c, "exclude-outbound-port", rule.Return(), rule.TCP(), rule.ToPort(p))
	}
}

// destinations plans the user's choice by address and port at the end of chain c.
func (b *builder) destinations(c rule.Chain) {
	b.ranges(c, "exclude-outbound-range", rule.Return(), b.config.OutboundExcludeRanges)
	if b.config.OutboundRanges.All {
		b.add(c, "outbound", rule.Jump(rule.Redirect))
		return
	}
	for _, p := range unique(b.config.OutboundPorts) {
		b.add(c, "outbound-port", rule.Jump(rule.Redirect), rule.TCP(), rule.ToPort(p))
	}
	b.ranges(c, "outbound-range", rule.Jump(rule.Redirect), b.config.OutboundRanges.Prefixes)
}

// ranges adds a rule to chain c for each range of this family.
func (b *builder) ranges(c rule.Chain, why string, t rule.Target, list []netip.Prefix) {
	for _, p := range b.ours(list) {
		if p.Bits() == 0 { // the kernel does not store a condition that always holds
			b.add(c, why, t)
		} else {
			b.add(c, why, t, rule.To(p))
		}
	}
}

// capturesOutbound reports whether any destination of this family is captured.
func (b *builder) capturesOutbound() bool {
	to := b.config.OutboundRanges
	return to.All || len(b.config.OutboundPorts) > 0 || len(b.ours(to.Prefixes)) > 0
}

// capturesLoopback reports whether the user asks for a loopback range of this family.
// Then what applications send over lo is not left alone wholesale. (In Istio a range of
// one family opens both.)
func (b *builder) capturesLoopback() bool {
	return slices.ContainsFunc(b.ours(b.config.OutboundRanges.Prefixes), func(p netip.Prefix) bool {
		return p.Addr().IsLoopback()
	})
}
