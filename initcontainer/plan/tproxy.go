package plan

import (
	"slices"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// divert fills the chain that hands packets to the inbound listener as they are.
//
// Only the first packets of a connection are handed over, by which the listener accepts
// it; the connection's socket finds the rest. TPROXY would drop those of established
// connections that are not the proxy's, such as answers to what the pod sent.
func (b *builder) divert() {
	b.each(rule.Divert, "established", rule.Mark(b.config.TProxyMark), rule.TCP(), rule.Established(), rule.FromOpener())
	b.each(rule.Divert, "established", rule.Return(), rule.TCP(), rule.Established())
	b.each(rule.Divert, "to-inbound-listener", rule.DivertTo(b.family, b.config.InboundPort, b.config.TProxyMark), rule.TCP())
}

// selfMark is the packet mark of the proxy's own calls to its pod.
func (b *builder) selfMark() uint32 { return b.config.TProxyMark + 1 }

// marks plans the marks on what processes of the pod send, by which TPROXY tells apart
// what looks the same by address.
//
// The proxy calls the application from the client's address, with TProxyMark. The
// application answers to that address, which is not of this host: the connection keeps the
// mark and gives it to the answers, and the routing table sends them to the proxy. The
// proxy's own calls to its pod (see proxy) get the next number.
func (b *builder) marks() {
	inbound := []rule.Match{rule.TCP(), rule.Marked(b.config.TProxyMark)}
	b.each(rule.Outbound, "inbound-connection", rule.KeepMark(), inbound...)
	b.each(rule.Outbound, "inbound-connection", rule.Return(), inbound...)
	b.each(rule.Outbound, "inbound-answer", rule.TakeMark(), rule.TCP(), rule.OfMarked(b.config.TProxyMark))
	b.each(rule.Output, "outbound", rule.Jump(rule.Outbound), rule.TCP())
	if slices.Contains(b.config.ExcludeInterfaces, rule.Lo) {
		return // calls to the pod itself are left alone
	}
	for _, p := range unique(b.config.OutboundExcludePorts) {
		b.each(rule.Outbound, "exclude-outbound-port", rule.Return(), rule.TCP(), rule.ToPort(p))
	}
	b.each(rule.Outbound, "proxy-to-application", rule.Return(), rule.From(ProxySource(b.family)), rule.OverLoopback())
	b.each(rule.Outbound, "validation", rule.Return(), b.probe()...)
	if b.asksAgent() && b.config.TunnelPort != dnsPort {
		b.each(rule.Outbound, "agent-query", rule.Return(), rule.TCP(), rule.ToPort(dnsPort))
	}
	for _, owner := range b.owners() {
		b.each(rule.Outbound, "call-to-self", rule.Mark(b.selfMark()), append(b.selfCall(), owner)...)
	}
}
