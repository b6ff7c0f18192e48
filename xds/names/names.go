// Package names is the grammar of the resource names that users, dashboards and tools
// read: clusters, listeners, filter chains, route tables, virtual hosts, stat prefixes.
//
// Every name is written and read here and nowhere else. The names are contracts with
// Istio's users, so their spelling never changes. The package is pure and knows only
// strings and numbers.
package names

import (
	"strconv"
	"strings"
)

// Clusters whose names carry no data.
const (
	PassthroughCluster        = "PassthroughCluster"        // unknown destinations under ALLOW_ANY
	BlackHoleCluster          = "BlackHoleCluster"          // no endpoints: the connection is closed
	InboundPassthroughCluster = "InboundPassthroughCluster" // inbound ports that no Service names
	SDSCluster                = "sds-grpc"                  // static: the agent's secrets
	PrometheusCluster         = "prometheus_stats"          // static: Envoy's own admin port
	AgentCluster              = "agent"                     // static: the agent's status port
	XDSCluster                = "xds-grpc"                  // static: the agent's configuration stream
)

// Listeners and filter chains whose names carry no data.
const (
	VirtualOutbound         = "virtualOutbound"
	VirtualInbound          = "virtualInbound"
	OutboundBlackholeChain  = "virtualOutbound-blackhole"
	OutboundCatchAllChain   = "virtualOutbound-catchall-tcp"
	InboundBlackholeChain   = "virtualInbound-blackhole"
	InboundCatchAllHTTP     = "virtualInbound-catchall-http"
	InboundCatchAllTCP      = "virtualInbound"
	PassthroughFilterChain  = "PassthroughFilterChain"
	DefaultRoute            = "default" // route of a host that no VirtualService claims
	AllowAnyVirtualHost     = "allow_any"
	BlockAllVirtualHost     = "block_all"
	inboundVirtualHostStart = "inbound|http|"
)

const (
	outboundStart = "outbound|"
	sniStart      = "outbound_."
	inboundStart  = "inbound|"
	blackhole     = "blackhole:"
	gatewayHTTP   = "http."
)

// Outbound names the cluster of one service port, or of one subset of it.
type Outbound struct {
	Port   uint16
	Subset string // empty: all endpoints
	Host   string // full host name, no trailing dot; "*.example.com" is one
}

// String is the cluster's name, "outbound|80|v1|reviews.default.svc.cluster.local". The
// name of its load assignment is the same.
func (o Outbound) String() string {
	return outboundStart + number(o.Port) + "|" + o.Subset + "|" + o.Host
}

// SNI is the name in a spelling that TLS allows as a server name,
// "outbound_.80_.v1_.reviews.default.svc.cluster.local".
func (o Outbound) SNI() string {
	return sniStart + number(o.Port) + "_." + o.Subset + "_." + o.Host
}

// ParseOutbound reads what String wrote. ok is false for any other name.
func ParseOutbound(name string) (o Outbound, ok bool) {
	return parseOutbound(name, outboundStart, "|")
}

// ParseSNI reads what SNI wrote. ok is false for any other name.
func ParseSNI(name string) (o Outbound, ok bool) {
	return parseOutbound(name, sniStart, "_.")
}

func parseOutbound(name, start, separator string) (Outbound, bool) {
	rest, found := strings.CutPrefix(name, start)
	if !found {
		return Outbound{}, false
	}
	portText, rest, found := strings.Cut(rest, separator)
	if !found {
		return Outbound{}, false
	}
	subset, host, found := strings.Cut(rest, separator)
	port, ok := parseNumber(portText)
	if !found || !ok || host == "" || strings.Contains(host, separator) {
		return Outbound{}, false
	}
	return Outbound{Port: port, Subset: subset, Host: host}, true
}

// Inbound is the name of the cluster of one port of the proxy's own pod,
// "inbound|8080||". It carries no host: services that share a target port share it.
func Inbound(port uint16) string { return inboundStart + number(port) + "||" }

// ParseInbound reads what Inbound wrote. ok is false for any other name.
func ParseInbound(name string) (port uint16, ok bool) {
	rest, found := strings.CutPrefix(name, inboundStart)
	if !found {
		return 0, false
	}
	text, found := strings.CutSuffix(rest, "||")
	if !found {
		return 0, false
	}
	return parseNumber(text)
}

// InboundVirtualHost is the name of the only virtual host of an inbound port,
// "inbound|http|80". port is the Service's, 0 for the chains that serve any port.
func InboundVirtualHost(port uint16) string { return inboundVirtualHostStart + number(port) }

// AltStat is the name under which a cluster's statistics appear: the cluster's name with
// a delimiter, so that patterns on statistics know where it ends.
func AltStat(cluster string) string { return cluster + ";" }

// VirtualHost is the name of the virtual host of one host of one port,
// "reviews.default.svc.cluster.local:9080". The sniffed route table of a service has the
// same name.
func VirtualHost(host string, port uint16) string { return host + ":" + number(port) }

// ParseVirtualHost reads what VirtualHost wrote. ok is false for any other name.
func ParseVirtualHost(name string) (host string, port uint16, ok bool) {
	i := strings.LastIndexByte(name, ':')
	if i <= 0 {
		return "", 0, false
	}
	port, ok = parseNumber(name[i+1:])
	if !ok {
		return "", 0, false
	}
	return name[:i], port, true
}

// BlackholeVirtualHost answers 404 on a gateway port without routes, "blackhole:8080".
func BlackholeVirtualHost(port uint16) string { return blackhole + number(port) }

// PortRoute is the route table that all HTTP services of one port share on a sidecar: "8080".
func PortRoute(port uint16) string { return number(port) }

// GatewayRoute is the route table of the plain HTTP servers of one gateway port,
// "http.8080", or "http.8080.10.0.0.1" when the server names an address to bind.
func GatewayRoute(port uint16, bind string) string {
	if bind == "" {
		return gatewayHTTP + number(port)
	}
	return gatewayHTTP + number(port) + "." + bind
}

// ParseGatewayRoute reads what GatewayRoute wrote. ok is false for any other name.
func ParseGatewayRoute(name string) (port uint16, bind string, ok bool) {
	rest, found := strings.CutPrefix(name, gatewayHTTP)
	if !found {
		return 0, "", false
	}
	text, bind, dotted := strings.Cut(rest, ".")
	port, ok = parseNumber(text)
	if !ok || dotted && bind == "" {
		return 0, "", false
	}
	return port, bind, true
}

// VirtualServicePath is the value of the metadata that ties a route to its object,
// "/apis/networking.istio.io/v1/namespaces/NS/virtual-service/NAME".
func VirtualServicePath(namespace, name string) string {
	return objectPath(namespace, "virtual-service", name)
}

// DestinationRulePath is the value of the metadata that ties a cluster to its object,
// "/apis/networking.istio.io/v1/namespaces/NS/destination-rule/NAME".
func DestinationRulePath(namespace, name string) string {
	return objectPath(namespace, "destination-rule", name)
}

func objectPath(namespace, kind, name string) string {
	return "/apis/networking.istio.io/v1/namespaces/" + namespace + "/" + kind + "/" + name
}

func number(port uint16) string { return strconv.FormatUint(uint64(port), 10) }

// parseNumber reads a port number in its only spelling: no sign, no leading zero.
func parseNumber(text string) (uint16, bool) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || number(uint16(n)) != text {
		return 0, false
	}
	return uint16(n), true
}
