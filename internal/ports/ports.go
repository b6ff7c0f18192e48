// Package ports lists every port number that Sluice owns, with its owner and protocol.
//
// The numbers are contracts with users' scripts, dashboards and firewalls; no other
// package writes them as literals. The reference page is generated from All.
package ports

// The ports of the proxy's pod.
const (
	EnvoyAdmin      uint16 = 15000 // Envoy admin, loopback only
	OutboundCapture uint16 = 15001 // virtualOutbound: traffic the pod sends
	ValidationProbe uint16 = 15002 // dialled by the interception check
	AgentDebug      uint16 = 15004 // reserved
	InboundCapture  uint16 = 15006 // virtualInbound: traffic the pod receives
	Tunnel          uint16 = 15008 // HBONE, never captured
	AgentStatus     uint16 = 15020 // agent: health, merged metrics, quit
	EnvoyHealth     uint16 = 15021 // Envoy: readiness, what the kubelet asks
	AgentDNS        uint16 = 15053 // agent: DNS, loopback only
	EnvoyPrometheus uint16 = 15090 // Envoy: its own statistics
)

// The ports of the control plane.
const (
	XDSPlain   uint16 = 15010 // xDS without TLS, no identity
	XDSTLS     uint16 = 15012 // xDS and CA over TLS
	Monitoring uint16 = 15014 // metrics and debug
	Webhook    uint16 = 15017 // admission webhook, HTTPS
	Debug      uint16 = 8080  // readiness and debug, plain HTTP
)

// The ports of the network plug-in's installer, on the node.
const (
	CNIReady uint16 = 8000 // readiness, loopback only; its metrics are on Monitoring
)

// Port describes one port for the reference page.
type Port struct {
	Number   uint16
	Owner    string // program that listens
	Bind     string // "wildcard" or "loopback"
	Protocol string
	Use      string
}

// All lists every port in ascending order within its pod.
func All() []Port {
	return []Port{
		{EnvoyAdmin, "envoy", "loopback", "HTTP", "Envoy admin"},
		{OutboundCapture, "envoy", "wildcard", "TCP", "captured outbound traffic (virtualOutbound)"},
		{ValidationProbe, "sluice-init", "loopback", "TCP", "dialled by the interception check, nothing listens"},
		{AgentDebug, "sluice-agent", "-", "-", "reserved"},
		{InboundCapture, "envoy", "wildcard", "TCP", "captured inbound traffic (virtualInbound)"},
		{Tunnel, "envoy", "wildcard", "HTTP/2", "HBONE tunnel, never captured; reserved, nothing listens yet"},
		{AgentStatus, "sluice-agent", "wildcard", "HTTP", "health, merged metrics, application probes, quit"},
		{EnvoyHealth, "envoy", "wildcard", "HTTP", "readiness (/healthz/ready), asked by the kubelet"},
		{AgentDNS, "sluice-agent", "loopback", "DNS", "DNS queries of the pod, UDP and TCP, where DNS capture is on"},
		{EnvoyPrometheus, "envoy", "wildcard", "HTTP", "Envoy's own statistics (/stats/prometheus)"},
		{XDSPlain, "sluiced", "wildcard", "gRPC", "xDS without TLS or identity"},
		{XDSTLS, "sluiced", "wildcard", "gRPC/TLS", "xDS and certificate signing"},
		{Monitoring, "sluiced", "wildcard", "HTTP", "metrics, version, debug"},
		{Webhook, "sluiced", "wildcard", "HTTPS", "admission webhook"},
		{Debug, "sluiced", "wildcard", "HTTP", "readiness (/ready) and debug"},
		{CNIReady, "sluice-cni", "loopback", "HTTP", "readiness (/readyz) of the network plug-in's installer, on the node"},
		{Monitoring, "sluice-cni", "wildcard", "HTTP", "metrics of the network plug-in's installer, on the node"},
	}
}

// InboundExcluded lists the pod's ports that are reached directly from outside and are
// therefore never captured inbound, in the order the init container's arguments use.
func InboundExcluded() []uint16 { return []uint16{EnvoyPrometheus, EnvoyHealth} }
