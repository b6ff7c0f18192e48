// Package listener builds Envoy listeners: what a sidecar sends, what it receives, and
// what a gateway opens.
//
// The parameters of a builder are its cache key: nothing else is read. Messages returned
// are new and owned by the caller. The package is pure.
package listener

import (
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy/accesslog"
	"github.com/sluicemesh/sluice/xds/envoy/filter"
	"github.com/sluicemesh/sluice/xds/ir"
	"github.com/sluicemesh/sluice/xds/names"
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

// connectTimeout is how long a client may take for its TLS handshake.
const connectTimeout = 15 * time.Second

// chain returns a filter chain. A nil match takes every connection.
func chain(name string, match *listenerv3.FilterChainMatch, filters ...*listenerv3.Filter) *listenerv3.FilterChain {
	return &listenerv3.FilterChain{
		Name: name, FilterChainMatch: match, Filters: filters,
		TransportSocketConnectTimeout: durationpb.New(connectTimeout),
	}
}

// open makes l accept connections by itself, one at a time for each worker's turn, so that
// the workers share them.
func open(l *listenerv3.Listener) {
	l.MaxConnectionsToAcceptPerSocketEvent = wrapperspb.UInt32(1)
}

// forward is a TCP proxy to one cluster.
func forward(cluster string, k Key) *listenerv3.Filter {
	return filter.TCP(filter.Stream{
		StatPrefix: cluster, Clusters: []filter.WeightedCluster{{Name: cluster}}, Log: k.AccessLog,
	})
}

// unknown is the cluster for destinations that the mesh does not know.
func unknown(k Key) string {
	if k.Outbound == ir.RegistryOnly {
		return names.BlackHoleCluster
	}
	return names.PassthroughCluster
}
