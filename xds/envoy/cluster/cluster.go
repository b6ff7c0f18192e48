// Package cluster builds Envoy clusters.
//
// The parameters of a builder are its cache key: nothing else is read. Messages returned
// are new and owned by the caller. The package is pure.
package cluster

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/ir"
)

// Key is what besides the service decides a cluster. It is comparable.
type Key struct {
	Families       class.Families
	Router         bool // gateways never look at first bytes and know no original destination
	AutoMTLS       bool
	TrustDomain    string
	ConnectTimeout time.Duration
	DNSRefresh     time.Duration
}

// KeyOf picks from the mesh settings and the class what clusters depend on.
func KeyOf(m ir.Mesh, families class.Families, router bool) Key {
	return Key{
		Families: families, Router: router, AutoMTLS: m.AutoMTLS, TrustDomain: m.TrustDomain,
		ConnectTimeout: m.ConnectTimeout, DNSRefresh: m.DNSRefresh,
	}
}

// Outbound is one service port, or one subset of it, with all that was decided about it.
type Outbound struct {
	Service ir.Service
	Port    ir.Port
	// Subset is nil for the base cluster. Its Policy is not read: Policy below is merged.
	Subset *ir.Subset
	// Policy is what the DestinationRule says for this port and subset; the zero value if
	// there is none.
	Policy ir.TrafficPolicy
	// Rule is the DestinationRule (namespace and name), the zero value if there is none.
	Rule problem.Origin
	// Peers are the SPIFFE IDs of the endpoints, sorted and unique.
	Peers []string
	// AllMeshTLS says that there are endpoints and each accepts mesh mTLS. Only clusters
	// that go to the original destination depend on it: keep it false for all others.
	AllMeshTLS bool
}

// BuildOutbound returns the cluster of a service port, nil if it has none: a DNS service
// without endpoints.
func BuildOutbound(o Outbound, k Key) *clusterv3.Cluster { panic("not built yet") }

// MarksPlain reports whether the cluster tells endpoints without a proxy by their metadata;
// it is the MarkPlain of its load assignment's key.
func MarksPlain(o Outbound, k Key) bool { panic("not built yet") }

// UsesEDS reports whether the cluster takes its endpoints from a load assignment that
// must be sent.
func UsesEDS(o Outbound, k Key) bool { panic("not built yet") }

// Inbound is one port of the pod that some Service targets.
type Inbound struct {
	Port     uint16 // target port
	Protocol ir.Protocol
	// Owners are the Services that share the port, oldest first.
	Owners []Owner
	// Policy are the connection limits of the oldest owner's DestinationRule.
	Policy ir.TrafficPolicy
}

// Owner names a service.
type Owner struct{ Host, Name, Namespace string }

// OwnerOf returns the name of a service.
func OwnerOf(s ir.Service) Owner {
	name := s.Name
	if name == "" {
		name = s.ID.Host
	}
	return Owner{Host: s.ID.Host, Name: name, Namespace: s.ID.Namespace}
}

// BuildInbound returns the cluster through which the proxy reaches its own application.
func BuildInbound(in Inbound, k Key) *clusterv3.Cluster { panic("not built yet") }

// Passthrough returns PassthroughCluster.
func Passthrough(k Key) *clusterv3.Cluster { panic("not built yet") }

// BlackHole returns BlackHoleCluster.
func BlackHole(k Key) *clusterv3.Cluster { panic("not built yet") }

// InboundPassthrough returns InboundPassthroughCluster.
func InboundPassthrough(k Key) *clusterv3.Cluster { panic("not built yet") }
