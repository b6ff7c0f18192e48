package plan

import (
	"slices"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// discard plans what becomes of packets that fit no connection. It is the one rule that is
// not of TCP alone.
func (b *builder) discard() {
	if !b.config.DropInvalid {
		return
	}
	for _, link := range unique(b.config.ExcludeInterfaces) {
		b.each(rule.Discard, "exclude-interface", rule.Return(), rule.Entering(link))
	}
	b.each(rule.Discard, "drop-invalid", rule.Drop())
	b.each(rule.Prerouting, "drop-invalid", rule.Jump(rule.Discard), rule.Invalid())
}

// inbound plans what reaches the pod from outside: in table nat, where it is redirected, or
// for TPROXY in table mangle, which keeps the addresses. Packets over lo are not new to nat
// when they get to PREROUTING, so the pod's own connections never meet the rules in nat; in
// mangle they do.
func (b *builder) inbound() {
	add, leaf := b.add, rule.InRedirect
	if b.tproxy {
		add, leaf = b.each, rule.Divert
		if !slices.Contains(b.config.ExcludeInterfaces, rule.Lo) {
			add(rule.Inbound, "call-to-self", rule.Jump(leaf), rule.TCP(), rule.Marked(b.selfMark()))
		}
	}
	list := b.inboundRules(leaf)
	if len(list) > 0 {
		if b.tproxy {
			add(rule.Inbound, "local", rule.Return(), rule.Entering(rule.Lo))
		}
		for _, link := range unique(b.config.VirtualInterfaces) {
			add(rule.Inbound, "virtual-interface", rule.Return(), rule.Entering(link))
		}
		for _, link := range unique(b.config.ExcludeInterfaces) {
			add(rule.Inbound, "exclude-interface", rule.Return(), rule.Entering(link))
		}
		for _, r := range list {
			add(r.Chain, r.Why, r.Target, r.Match...)
		}
	}
	if b.tproxy {
		b.each(rule.Prerouting, "inbound", rule.Jump(rule.Inbound), rule.TCP())
	}
	if slices.ContainsFunc(b.nat, func(r rule.Rule) bool { return r.Chain == rule.Inbound }) {
		b.add(rule.Prerouting, "inbound", rule.Jump(rule.Inbound), rule.TCP())
	}
}

// inboundRules is the user's choice by port; what it takes goes to chain leaf.
func (b *builder) inboundRules(leaf rule.Chain) []rule.Rule {
	var out []rule.Rule
	add := func(why string, t rule.Target, ms ...rule.Match) {
		out = append(out, rule.Rule{Chain: rule.Inbound, Match: append([]rule.Match{rule.TCP()}, ms...), Target: t, Why: why})
	}
	chosen := b.config.InboundPorts
	if !chosen.All {
		for _, p := range unique(chosen.List) {
			if p != b.config.TunnelPort {
				add("inbound-port", rule.Jump(leaf), rule.ToPort(p))
			}
		}
		return out
	}
	excluded := append([]uint16{b.config.TunnelPort}, b.config.InboundExcludePorts...)
	for i, p := range unique(excluded) {
		why := "exclude-inbound-port"
		if i == 0 {
			why = "tunnel"
		}
		add(why, rule.Return(), rule.ToPort(p))
	}
	add("inbound", rule.Jump(leaf))
	return out
}
