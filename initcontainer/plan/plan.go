// Package plan decides which rules make the kernel capture what a capture.Config asks for.
//
// Data in: the configuration and an address family. Data out: a rule.Set, each rule with
// the reason why it exists. The verdict for each connection is Istio's; the rules are
// not: a rule exists only if some connection would go elsewhere without it. It is pure.
package plan

import (
	"net/netip"
	"slices"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Build returns the rules of family f. It is the empty set for interception mode NONE.
// c must pass its Validate.
func Build(c capture.Config, f rule.Family) rule.Set {
	if c.Mode == capture.None {
		return rule.Set{}
	}
	b := builder{config: c, family: f}
	b.inbound()
	b.outbound()
	b.redirect(rule.InRedirect, c.InboundPort, "to-inbound-listener")
	b.redirect(rule.Redirect, c.OutboundPort, "to-outbound-listener")
	return rule.SetOf(append(b.rules, b.jumps...))
}

// ProxySource is the address from which the proxy and the agent call the application of
// their own pod. Connections from it are never captured.
//
// The IPv4 one is local on every host; the IPv6 one must be put on lo.
func ProxySource(f rule.Family) netip.Prefix {
	if f == rule.IPv6 {
		return netip.MustParsePrefix("::6/128")
	}
	return netip.MustParsePrefix("127.0.0.6/32")
}

// localhost is the one loopback address that even the proxy reaches directly.
func localhost(f rule.Family) netip.Prefix {
	if f == rule.IPv6 {
		return netip.MustParsePrefix("::1/128")
	}
	return netip.MustParsePrefix("127.0.0.1/32")
}

// builder collects the rules of private chains and, apart, the jumps to them.
type builder struct {
	config capture.Config
	family rule.Family
	rules  []rule.Rule
	jumps  []rule.Rule
}

func (b *builder) add(c rule.Chain, why string, t rule.Target, ms ...rule.Match) {
	b.rules = append(b.rules, rule.Rule{Chain: c, Match: ms, Target: t, Why: why})
}

// jump sends the TCP packets of a built-in chain to a private one: no other protocol is
// ever captured.
func (b *builder) jump(from, to rule.Chain, why string) {
	b.jumps = append(b.jumps, rule.Rule{Chain: from, Match: []rule.Match{rule.TCP()}, Target: rule.Jump(to), Why: why})
}

// redirect fills chain c, which sends to a listener, where some rule jumps to it.
func (b *builder) redirect(c rule.Chain, port uint16, why string) {
	if !slices.ContainsFunc(b.rules, func(r rule.Rule) bool { return r.Target == rule.Jump(c) }) {
		return
	}
	b.add(c, why, rule.RedirectTo(port), rule.TCP())
}

// inbound plans what reaches the pod from outside. Packets over lo are not new to nat when
// they get to PREROUTING, so the pod's own connections never meet these rules.
func (b *builder) inbound() {
	ports := b.config.InboundPorts
	switch {
	case ports.All:
		excluded := append([]uint16{b.config.TunnelPort}, b.config.InboundExcludePorts...)
		for i, p := range unique(excluded) {
			why := "exclude-inbound-port"
			if i == 0 {
				why = "tunnel"
			}
			b.add(rule.Inbound, why, rule.Return, rule.TCP(), rule.ToPort(p))
		}
		b.add(rule.Inbound, "inbound", rule.Jump(rule.InRedirect), rule.TCP())
	default:
		list := slices.DeleteFunc(unique(ports.List), func(p uint16) bool { return p == b.config.TunnelPort })
		for _, p := range list {
			b.add(rule.Inbound, "inbound-port", rule.Jump(rule.InRedirect), rule.TCP(), rule.ToPort(p))
		}
		if len(list) == 0 {
			return
		}
	}
	b.jump(rule.Prerouting, rule.Inbound, "inbound")
}

// outbound plans what processes of the pod send. The order decides: exclusions by port
// beat everything, then come the proxy's own connections, then local ones, then the
// user's choice.
func (b *builder) outbound() {
	for _, p := range unique(b.config.OutboundExcludePorts) {
		b.add(rule.Outbound, "exclude-outbound-port", rule.Return, rule.TCP(), rule.ToPort(p))
	}
	b.add(rule.Outbound, "proxy-to-application", rule.Return, rule.From(ProxySource(b.family)), rule.OverLoopback())
	b.proxy()
	if !b.capturesLoopback() {
		b.add(rule.Outbound, "local", rule.Return, rule.OverLoopback())
	} else {
		b.add(rule.Outbound, "localhost", rule.Return, rule.To(localhost(b.family)))
	}
	b.ranges("exclude-outbound-range", rule.Return, b.config.OutboundExcludeRanges)
	for _, p := range unique(b.config.OutboundPorts) {
		b.add(rule.Outbound, "outbound-port", rule.Jump(rule.Redirect), rule.TCP(), rule.ToPort(p))
	}
	if b.config.OutboundRanges.All {
		b.add(rule.Outbound, "outbound", rule.Jump(rule.Redirect))
	} else {
		b.ranges("outbound-range", rule.Jump(rule.Redirect), b.config.OutboundRanges.Prefixes)
	}
	b.jump(rule.Output, rule.Outbound, "outbound")
}

// proxy plans the proxy's own connections: left alone, but for those to the pod itself.
//
// An application that calls a Service may be sent back to its own pod by the proxy; that
// connection goes over lo and must still pass the inbound listener. Unlike in Istio, where
// the first owner's rules hide those of the next, all owners form one set: a process with
// any of the UIDs or GIDs is the proxy.
func (b *builder) proxy() {
	var owners []rule.Match
	for _, id := range unique(b.config.ProxyUIDs) {
		owners = append(owners, rule.ByUID(id))
	}
	for _, id := range unique(b.config.ProxyGIDs) {
		owners = append(owners, rule.ByGID(id))
	}
	for _, owner := range owners {
		b.add(rule.Outbound, "call-to-self", rule.Jump(rule.InRedirect),
			rule.To(localhost(b.family)).Negate(), rule.OverLoopback(), rule.TCP(),
			rule.ToPort(b.config.TunnelPort).Negate(), owner)
	}
	for _, owner := range owners {
		b.add(rule.Outbound, "proxy", rule.Return, owner)
	}
}

// ranges adds a rule for each range of this family.
func (b *builder) ranges(why string, t rule.Target, list []netip.Prefix) {
	var seen []netip.Prefix
	for _, p := range list {
		p = p.Masked()
		if p.Addr().Is4() != (b.family == rule.IPv4) || slices.Contains(seen, p) {
			continue
		}
		seen = append(seen, p)
		if p.Bits() == 0 { // the kernel does not store a condition that always holds
			b.add(rule.Outbound, why, t)
		} else {
			b.add(rule.Outbound, why, t, rule.To(p))
		}
	}
}

// capturesLoopback reports whether the user asks for a loopback range of this family.
// Then what applications send over lo is not left alone wholesale. (In Istio a range of
// one family opens both.)
func (b *builder) capturesLoopback() bool {
	return slices.ContainsFunc(b.config.OutboundRanges.Prefixes, func(p netip.Prefix) bool {
		return p.Addr().Is4() == (b.family == rule.IPv4) && p.Addr().IsLoopback()
	})
}

// unique drops repetitions and keeps the order; the result is new.
func unique[T comparable](list []T) []T {
	var out []T
	for _, v := range list {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}
