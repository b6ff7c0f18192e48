// Package plan decides what the kernel must hold to capture what a capture.Config asks for.
//
// Data in: the configuration and an address family. Data out: a Plan, each rule with the
// reason why it exists. The verdict for each connection is Istio's; the rules are not: a
// rule exists only if some connection would go elsewhere without it. It is pure.
package plan

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/sluicemesh/sluice/internal/capture"
	"github.com/sluicemesh/sluice/internal/ports"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Plan is what the kernel is to hold for one address family.
type Plan struct {
	Rules rule.Sets
	// RouteMarked says that packets with Mark are routed by Table: they belong to this host
	// whatever their address is. Without it Mark and Table are 0.
	RouteMarked bool
	Mark        uint32
	Table       int
}

// Text is the plan as commands: the input of iptables-restore and, in comments, what is
// done besides.
func (p Plan) Text(f rule.Family) string { return p.Routing(f) + rule.Swap(nil, p.Rules) }

// Routing is the routing that goes with the rules, as comments with the commands of ip; ""
// where none does.
func (p Plan) Routing(f rule.Family) string {
	if !p.RouteMarked {
		return ""
	}
	all := "0.0.0.0/0"
	if f == rule.IPv6 {
		all = "::/0"
	}
	return fmt.Sprintf("# ip -%d route add local %s dev lo table %d\n# ip -%d rule add fwmark %d lookup %d\n",
		f, all, p.Table, f, p.Mark, p.Table)
}

// Build returns the plan of family f. It is empty for interception mode NONE. c must pass
// its Validate. A plan that is not empty has a private chain in table nat.
func Build(c capture.Config, f rule.Family) Plan {
	if c.Mode == capture.None {
		return Plan{Rules: rule.Sets{}}
	}
	b := builder{config: c, family: f, tproxy: c.Mode == capture.TProxy}
	b.zones()
	b.discard()
	b.guests()
	b.inbound()
	b.outbound()
	plan := Plan{Rules: rule.Sets{}}
	if b.tproxy {
		b.marks()
		b.divert()
		plan.RouteMarked, plan.Mark, plan.Table = true, c.TProxyMark, c.TProxyTable
	}
	b.listeners()
	for table, rules := range map[rule.Table][]rule.Rule{rule.Raw: b.raw, rule.Mangle: b.mangle, rule.Nat: b.nat} {
		if rules = tidy(rules); len(rules) > 0 {
			plan.Rules[table] = rule.SetOf(rules)
		}
	}
	return plan
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

// builder collects the rules of each table.
type builder struct {
	config capture.Config
	family rule.Family
	tproxy bool

	raw, mangle, nat []rule.Rule
}

// add appends a rule to chain c of table nat.
func (b *builder) add(c rule.Chain, why string, t rule.Target, ms ...rule.Match) {
	b.nat = append(b.nat, rule.Rule{Chain: c, Match: ms, Target: t, Why: why})
}

// each appends a rule to chain c of table mangle, which holds for each packet.
func (b *builder) each(c rule.Chain, why string, t rule.Target, ms ...rule.Match) {
	b.mangle = append(b.mangle, rule.Rule{Chain: c, Match: ms, Target: t, Why: why})
}

// early appends a rule to chain c of table raw, before connections are looked up.
func (b *builder) early(c rule.Chain, why string, t rule.Target, ms ...rule.Match) {
	b.raw = append(b.raw, rule.Rule{Chain: c, Match: ms, Target: t, Why: why})
}

// listeners fills the chains that send to a listener.
func (b *builder) listeners() {
	b.add(rule.DNS, "to-dns-listener", rule.RedirectTo(ports.AgentDNS), rule.TCP(), rule.ToPort(dnsPort))
	b.add(rule.DNS, "to-dns-listener", rule.RedirectTo(ports.AgentDNS), rule.UDP(), rule.ToPort(dnsPort))
	b.add(rule.InRedirect, "to-inbound-listener", rule.RedirectTo(b.config.InboundPort), rule.TCP())
	b.add(rule.Redirect, "to-outbound-listener", rule.RedirectTo(b.config.OutboundPort), rule.TCP())
}

// localhost is what even the proxy reaches directly over lo.
func (b *builder) localhost() netip.Prefix {
	if b.family == rule.IPv6 {
		return netip.MustParsePrefix("::1/128")
	}
	return b.config.Loopback.Masked()
}

// owners are the conditions of which the proxy's packets meet at least one. Unlike in
// Istio, where the first owner's rules hide those of the next, all owners form one set: a
// process with any of the UIDs or GIDs is the proxy.
func (b *builder) owners() []rule.Match {
	var out []rule.Match
	for _, id := range unique(b.config.ProxyUIDs) {
		out = append(out, rule.ByUID(id))
	}
	for _, id := range unique(b.config.ProxyGIDs) {
		out = append(out, rule.ByGID(id))
	}
	return out
}

// ours returns the ranges of this family, masked, each once, in order.
func (b *builder) ours(list []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range list {
		p = p.Masked()
		if p.Addr().Is4() == (b.family == rule.IPv4) && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
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
