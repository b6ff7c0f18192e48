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
	if !b.tproxy || b.capturesLoopback() { // else it is left alone as local anyway
		b.add(rule.Outbound, "proxy-to-application", rule.Return(), rule.From(ProxySource(b.family)), rule.OverLoopback())
	}
	b.proxy()
	b.ownerGroups()
	if !b.capturesLoopback() {
		b.add(rule.Outbound, "local", rule.Return(), rule.OverLoopback())
	} else {
		b.add(rule.Outbound, "localhost", rule.Return(), rule.To(b.localhost()))
	}
	b.destinations(rule.Outbound)
	b.add(rule.Output, "outbound", rule.Jump(rule.Outbound), rule.TCP())
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
		b.add(rule.Inbound, "virtual-interface", rule.Jump(rule.Guests), rule.Entering(link), rule.TCP())
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
		for _, owner := range b.owners() {
			b.add(rule.Outbound, "call-to-self", rule.Jump(rule.InRedirect),
				rule.To(b.localhost()).Negate(), rule.OverLoopback(), rule.TCP(),
				rule.ToPort(b.config.TunnelPort).Negate(), owner)
		}
	}
	if b.tproxy || b.localhost().Contains(ProxySource(b.family).Addr()) {
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

// probe matches the connections by which a container finds out that rules are in force.
func (b *builder) probe() []rule.Match {
	return []rule.Match{
		rule.To(ProxySource(b.family)), rule.OverLoopback(), rule.TCP(), rule.ToPort(ports.ValidationProbe),
	}
}

// ownerGroups leaves alone processes by their group.
func (b *builder) ownerGroups() {
	if groups := b.config.OwnerGroups; !groups.All {
		var none []rule.Match
		for _, id := range unique(groups.List) {
			none = append(none, rule.ByGID(id).Negate())
		}
		b.add(rule.Outbound, "owner-groups", rule.Return(), none...)
		return
	}
	for _, id := range unique(b.config.OwnerGroupsExcluded) {
		b.add(rule.Outbound, "exclude-owner-group", rule.Return(), rule.ByGID(id))
	}
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
	for _, p := range unique(b.config.OutboundPorts) {
		b.add(c, "outbound-port", rule.Jump(rule.Redirect), rule.TCP(), rule.ToPort(p))
	}
	if b.config.OutboundRanges.All {
		b.add(c, "outbound", rule.Jump(rule.Redirect))
	} else {
		b.ranges(c, "outbound-range", rule.Jump(rule.Redirect), b.config.OutboundRanges.Prefixes)
	}
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
