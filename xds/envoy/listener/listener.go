// Package listener builds Envoy listeners: what a sidecar sends, what it receives, and
// what a gateway opens.
//
// The parameters of a builder are its cache key: nothing else is read. Messages returned
// are new and owned by the caller. The package is pure.
package listener

import (
	"net/netip"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy/accesslog"
	"github.com/sluicemesh/sluice/xds/ir"
)

// Interception modes of a pod, as in class.Class.
const (
	Redirect = "REDIRECT"
	TProxy   = "TPROXY"
	None     = "NONE"
)

// Key is what every listener depends on. It is comparable.
type Key struct {
	Families         class.Families
	Interception     string
	Outbound         ir.OutboundMode
	TrustDomain      string
	DetectionTimeout time.Duration // 0: wait for the first bytes for ever
	OutboundPort     uint16
	InboundPort      uint16
	AccessLog        accesslog.Config
}

// KeyOf picks from the mesh settings and the class what listeners depend on.
func KeyOf(m ir.Mesh, c class.Class) Key {
	return Key{
		Families: c.Families, Interception: c.Interception, Outbound: m.Outbound, TrustDomain: m.TrustDomain,
		DetectionTimeout: m.DetectionTimeout, OutboundPort: m.OutboundPort, InboundPort: m.InboundPort,
		AccessLog: accesslog.Of(m),
	}
}

// Outbound is one address and port that applications connect to, with every service that
// is reached there.
type Outbound struct {
	// Addresses are the service's, the primary first; empty for all addresses (the wildcard).
	Addresses []netip.Addr
	Port      uint16
	// Route is the table of the HTTP traffic, empty if the port carries none.
	Route string
	// Streams are the TCP chains, in order. At most one has no match; it takes what nothing
	// else takes.
	Streams []Stream
}

// Stream is where connections go that are not parsed as HTTP.
type Stream struct {
	SNI         []string // server names; empty: any
	Subnets     []netip.Prefix
	Clusters    []WeightedCluster // at least one
	StatPrefix  string            // empty: the name of the only cluster
	IdleTimeout *time.Duration    // nil: Envoy's default
	HashSource  bool              // consistent hash over the source address
}

// WeightedCluster is one of several destinations; a single one may have weight 0.
type WeightedCluster struct {
	Name   string
	Weight uint32
}

// BuildOutbound returns the listener of one address and port.
func BuildOutbound(o Outbound, k Key) *listenerv3.Listener { panic("not built yet") }

// VirtualOutbound returns the listener that receives everything the pod sends and hands it
// to the listener of its destination. It is nil when nothing is intercepted.
func VirtualOutbound(k Key) *listenerv3.Listener { panic("not built yet") }

// MTLS is what a port demands of its clients.
type MTLS uint8

// The modes.
const (
	Permissive MTLS = iota
	Strict
	Disable
)

// InboundPort is one port of the pod that a Service targets.
type InboundPort struct {
	Port     uint16 // target port
	Protocol ir.Protocol
	MTLS     MTLS
	// Host and ServicePort name the (oldest) Service, for traces.
	Host        string
	ServicePort uint16
}

// Inbound is everything the pod receives.
type Inbound struct {
	Ports []InboundPort // unique ports, ascending
	MTLS  MTLS          // of ports that no Service targets
}

// VirtualInbound returns the listener that receives everything sent to the pod. It is nil
// when nothing is intercepted.
func VirtualInbound(in Inbound, k Key) *listenerv3.Listener { panic("not built yet") }

// Gateway is one port of a gateway with plain HTTP servers.
type Gateway struct {
	Bind  netip.Addr // the zero value: all addresses
	Port  uint16     // where the gateway's pod listens
	Route string     // names.GatewayRoute
}

// BuildGateway returns the listener of a gateway port.
func BuildGateway(g Gateway, k Key) *listenerv3.Listener { panic("not built yet") }
