package plan

import (
	"net/netip"
	"slices"

	"github.com/sluicemesh/sluice/internal/ports"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// dnsPort is where servers for DNS listen.
const dnsPort uint16 = 53

// The conntrack zones of DNS over UDP. Without them the agent's query to a server could
// have the addresses and ports of an application's query to it, and the answer would go
// astray.
const (
	zoneOfAgent = 1 // between the agent and the servers
	zoneOfPod   = 2 // between the pod's other processes and the agent
)

// asksAgent reports whether queries of some family are sent to the agent. As in Istio this
// decides in both families about queries over TCP that stay in the pod.
func (b *builder) asksAgent() bool {
	return b.config.RedirectDNS && (b.config.CaptureAllDNS || len(b.config.DNSServers) > 0) &&
		!slices.Contains(b.config.OutboundExcludePorts, dnsPort)
}

// capturesDNS reports whether queries of this family are to be captured. That their port is
// excluded beats it, but for the zones.
func (b *builder) capturesDNS() bool {
	return b.config.RedirectDNS && (b.config.CaptureAllDNS || len(b.servers()) > 0)
}

// servers are those of this family whose queries are captured, where not all are.
func (b *builder) servers() []netip.Prefix {
	var out []netip.Prefix
	for _, a := range b.config.DNSServers {
		a = a.Unmap().WithZone("")
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return b.ours(out)
}

// queries plans the way of DNS queries to the agent, whatever interface they would leave
// by, in chain c. Queries over UDP meet the rules before it as well: those decide who is left
// alone.
func (b *builder) queries(c rule.Chain) {
	nobody := !b.config.OwnerGroups.All && len(b.config.OwnerGroups.List) == 0
	if !b.asksAgent() || !b.capturesDNS() || nobody {
		return
	}
	b.add(rule.Output, "dns", rule.Jump(rule.Outbound), rule.UDP(), rule.ToPort(dnsPort))
	if b.config.CaptureAllDNS {
		b.add(c, "dns", rule.Jump(rule.DNS))
		return
	}
	for _, server := range b.servers() {
		b.add(c, "dns", rule.Jump(rule.DNS), rule.To(server))
	}
}

// zones keeps apart, over UDP, what the agent asks and what it is asked.
func (b *builder) zones() {
	if !b.capturesDNS() {
		return
	}
	for _, owner := range b.owners() {
		b.early(rule.DNS, "agent-query", rule.Zone(zoneOfAgent), rule.UDP(), rule.ToPort(dnsPort), owner)
		b.early(rule.DNS, "agent-answer", rule.Zone(zoneOfPod), rule.UDP(), rule.FromPort(ports.AgentDNS), owner)
	}
	b.early(rule.Output, "dns", rule.Jump(rule.DNS), rule.UDP())
	// What comes in over lo is looked up already.
	b.early(rule.Prerouting, "dns", rule.Jump(rule.Inbound), rule.UDP(), rule.FromPort(dnsPort))
	query := []rule.Match{rule.UDP(), rule.ToPort(dnsPort)}
	if b.config.CaptureAllDNS {
		b.early(rule.DNS, "query", rule.Zone(zoneOfPod), query...)
		b.early(rule.Inbound, "server-answer", rule.Zone(zoneOfAgent))
		return
	}
	for _, server := range b.servers() {
		b.early(rule.DNS, "query", rule.Zone(zoneOfPod), append([]rule.Match{rule.To(server)}, query...)...)
		b.early(rule.Inbound, "server-answer", rule.Zone(zoneOfAgent), rule.From(server))
	}
}
