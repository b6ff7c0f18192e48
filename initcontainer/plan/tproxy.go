package plan

import (
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// divert fills the chain that hands packets to the inbound listener as they are.
//
// Only the first packets of a connection are handed over, by which the listener accepts
// it; the connection's socket finds the rest. TPROXY would drop those of established
// connections that are not the proxy's, such as answers to what the pod sent.
func (b *builder) divert() {
	b.each(rule.Divert, "established", rule.Mark(InboundMark), rule.TCP(), rule.Established(), rule.FromOpener())
	b.each(rule.Divert, "established", rule.Return(), rule.TCP(), rule.Established())
	b.each(rule.Divert, "to-inbound-listener", rule.DivertTo(b.family, b.config.InboundPort, InboundMark), rule.TCP())
}

// marks plans the marks on what processes of the pod send, by which TPROXY tells apart
// what looks the same by address.
//
// The proxy calls the application from the client's address, with InboundMark. The
// application answers to that address, which is not of this host: the connection keeps the
// mark and gives it to the answers, and the routing table sends them to the proxy. The
// proxy's own calls to its pod (see proxy) get SelfMark.
func (b *builder) marks() {
	inbound := []rule.Match{rule.TCP(), rule.Marked(InboundMark)}
	b.each(rule.Outbound, "inbound-connection", rule.KeepMark(), inbound...)
	b.each(rule.Outbound, "inbound-connection", rule.Return(), inbound...)
	b.each(rule.Outbound, "inbound-answer", rule.TakeMark(), rule.TCP(), rule.OfMarked(InboundMark))
	for _, p := range unique(b.config.OutboundExcludePorts) {
		b.each(rule.Outbound, "exclude-outbound-port", rule.Return(), rule.TCP(), rule.ToPort(p))
	}
	b.each(rule.Outbound, "proxy-to-application", rule.Return(), rule.From(ProxySource(b.family)), rule.OverLoopback())
	b.each(rule.Outbound, "validation", rule.Return(), b.probe()...)
	for _, owner := range b.owners() {
		b.each(rule.Outbound, "call-to-self", rule.Mark(SelfMark),
			rule.To(b.localhost()).Negate(), rule.OverLoopback(), rule.TCP(),
			rule.ToPort(b.config.TunnelPort).Negate(), owner)
	}
	b.each(rule.Output, "outbound", rule.Jump(rule.Outbound), rule.TCP())
}
