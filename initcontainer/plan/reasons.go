package plan

import (
	"strconv"

	"github.com/sluicemesh/sluice/internal/capture"
	"github.com/sluicemesh/sluice/internal/ports"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// reasons lists why rules exist; the first entry that fits a rule is its.
func reasons() []reason {
	out := inboundReasons()
	out = append(out, outboundReasons()...)
	out = append(out, dnsReasons()...)
	return append(out, tproxyReasons()...)
}

func inboundReasons() []reason {
	return []reason{
		{"drop-invalid", "", rule.Prerouting, "packets that fit no connection are looked at before they reach a socket, which would reset one", always("--drop-invalid")},
		{"drop-invalid", "", "", "they are dropped", always("--drop-invalid")},
		{"inbound", "", rule.Prerouting, "what reaches the pod is looked at", inboundOption},
		{"tunnel", "", "", "the proxy's tunnel is reached as it is", value("--inbound-tunnel-port", rule.DestPort)},
		{"exclude-inbound-port", "", "", "this port is reached as it is", value("--istio-local-exclude-ports", rule.DestPort)},
		{"inbound-port", "", "", "what goes to this port passes the proxy", value("--istio-inbound-ports", rule.DestPort)},
		{"inbound", "", "", "everything else passes the proxy", inboundOption},
		{"exclude-interface", "", rule.Outbound, "what leaves by this interface is left alone", value("--istio-exclude-interfaces", rule.OutLink)},
		{"exclude-interface", "", "", "what enters by this interface is left alone", value("--istio-exclude-interfaces", rule.InLink)},
		{"guest", "", "", "what a guest of the pod sends goes where the pod's own connections would", value("--kube-virt-interfaces", rule.InLink)},
		{"virtual-interface", "", "", "what a guest of the pod sends is not inbound", value("--kube-virt-interfaces", rule.InLink)},
		{"to-inbound-listener", "", "", "here the proxy accepts inbound connections",
			values("--inbound-capture-port", func(c capture.Config) string { return port(c.InboundPort) })},
	}
}

func outboundReasons() []reason {
	return []reason{
		{"outbound", "", rule.Output, "what the pod's processes send is looked at", outboundOption},
		{"exclude-outbound-port", "", "", "connections to this port are left alone, whoever opens them", value("--istio-local-outbound-ports-exclude", rule.DestPort)},
		{"proxy-to-application", "", "", "from this address proxy and agent call the application, past the inbound listener", ownersOption},
		{"call-to-self", rule.Nat, "", "an application may reach its own pod through the proxy; that call is inbound, too", ownerOption},
		{"validation", "", "", "istio-validation needs an address that is always redirected",
			values("--iptables-probe-port", func(capture.Config) string { return port(ports.ValidationProbe) })},
		{"proxy", "", "", "the proxy's own connections are left alone, they would come back to it for ever", ownerOption},
		{"owner-groups", "", "", "processes of this group are looked at, others are left alone", value("ISTIO_OUTBOUND_OWNER_GROUPS", rule.OwnerGID)},
		{"exclude-owner-group", "", "", "processes of this group are left alone", value("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", rule.OwnerGID)},
		{"local", rule.Nat, "", "what stays in the pod is left alone", outboundOption},
		{"localhost", "", "", "localhost is left alone", outboundOption},
		{"exclude-outbound-range", "", "", "connections to this range are left alone", value("--istio-service-exclude-cidr", rule.Destination)},
		{"outbound-port", "", "", "connections to this port pass the proxy, whatever the address", value("--istio-outbound-ports", rule.DestPort)},
		{"outbound-range", "", "", "connections to this range pass the proxy", value("--istio-service-cidr", rule.Destination)},
		{"outbound", "", "", "everything else passes the proxy", outboundOption},
		{"to-outbound-listener", "", "", "here the proxy accepts outbound connections",
			values("--envoy-port", func(c capture.Config) string { return port(c.OutboundPort) })},
	}
}

func dnsReasons() []reason {
	return []reason{
		{"dns", rule.Nat, rule.Output, "queries over UDP meet the rules for connections, too", dnsOption},
		{"dns", rule.Nat, "", "what goes here on port 53 goes to the agent", dnsOption},
		{"to-dns-listener", "", "", "here the agent is asked", dnsOption},
		{"agent-query", rule.Nat, "", "the agent asks servers, those in its pod included", ownerOption},
		{"agent-query", rule.Mangle, "", "queries are not for the inbound listener", dnsOption},
		{"agent-query", rule.Raw, "", "the agent's queries are tracked apart from those it answers, which may look alike", ownerOption},
		{"agent-answer", "", "", "the agent's answers belong to the queries it was asked", ownerOption},
		{"query", "", "", "queries to the agent are tracked apart from those that it makes", dnsOption},
		{"server-answer", "", "", "answers of servers belong to the agent's queries", dnsOption},
		{"dns", rule.Raw, rule.Prerouting, "answers are told apart before their connection is looked up", dnsOption},
		{"dns", rule.Raw, "", "queries are told apart before their connection is looked up", dnsOption},
	}
}

func tproxyReasons() []reason {
	return []reason{
		{"call-to-self", rule.Mangle, rule.Inbound, "the proxy's call to its own pod is inbound, though it comes over lo", modeOption},
		{"call-to-self", rule.Mangle, "", "the proxy's call to its own pod is marked, so that it is told apart over lo", ownerOption},
		{"local", rule.Mangle, "", "what stays in the pod is not inbound", modeOption},
		{"established", "", "", "later packets find the connection's socket, those of clients by the mark", modeOption},
		{"inbound-connection", "", "", "the proxy calls the application with a mark, which the connection keeps", markOption},
		{"inbound-answer", "", "", "the application's answers get the mark, by which they are routed to the proxy", markOption},
	}
}

func always(option string) func(capture.Config, rule.Rule) string {
	return func(capture.Config, rule.Rule) string { return option }
}

func ownersOption(c capture.Config, _ rule.Rule) string {
	return "--proxy-uid=" + joined(c.ProxyUIDs) + " --proxy-gid=" + joined(c.ProxyGIDs)
}

func markOption(c capture.Config, _ rule.Rule) string {
	return "--istio-inbound-tproxy-mark=" + joined([]uint32{c.TProxyMark})
}

func port(p uint16) string { return strconv.Itoa(int(p)) }

func joined(ids []uint32) string {
	text := ""
	for i, id := range ids {
		if i > 0 {
			text += ","
		}
		text += strconv.FormatUint(uint64(id), 10)
	}
	return text
}
