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
	"github.com/sluicemesh/sluice/xds/envoy/pack"
	"github.com/sluicemesh/sluice/xds/ir"
	"github.com/sluicemesh/sluice/xds/names"
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
	// Endpoints are those of this port, for clusters whose proxies resolve names
	// (DNS, DNSRoundRobin); keep it nil for all others. Those of other subsets may be
	// included. A service without any resolves its own host.
	Endpoints []ir.Endpoint
}

// ID is what the names of the cluster and of its load assignment say.
func (o Outbound) ID() names.Outbound {
	id := names.Outbound{Port: o.Port.Number, Host: o.Service.ID.Host}
	if o.Subset != nil {
		id.Subset = o.Subset.Name
	}
	return id
}

// BuildOutbound returns the cluster of a service port, nil if it has none: a DNS service
// without endpoints.
//
// It is chosen by Service.Resolution: endpoints sent by the control plane, names resolved
// by the proxy, or the address the client dialled. Limits that the policy leaves open are
// unlimited: Envoy's own defaults would reject requests nobody asked to limit.
//
// Source: Istio's clusters; the sockets are Sluice's (see socket).
func BuildOutbound(o Outbound, k Key) *clusterv3.Cluster {
	name := o.ID().String()
	c := &clusterv3.Cluster{
		Name:        name,
		AltStatName: names.AltStat(name),
		Metadata:    metadata([]Owner{OwnerOf(o.Service)}, o),
	}
	limits(c, o.Policy, k.ConnectTimeout)
	if !discover(c, o, k) {
		return nil
	}
	balance(c, o.Policy)
	c.OutlierDetection = outlier(o.Policy.Outlier)
	panicThreshold(c, o.Policy.Outlier)
	p := o.protocol(k)
	secure(c, o, k)
	autoSNI, autoSAN := hostTLS(o)
	c.TypedExtensionProtocolOptions = protocolOptions(options{
		protocol: p, idle: o.Policy.HTTPIdle, maxRequests: o.Policy.MaxReqPerConn,
		autoSNI: autoSNI, autoSAN: autoSAN,
	})
	return c
}

// UsesEDS reports whether the cluster takes its endpoints from a load assignment that
// must be sent.
func UsesEDS(o Outbound, k Key) bool { return o.kind(k) == clusterv3.Cluster_EDS }

// limits sets circuit breakers, connect timeout and keepalive.
func limits(c *clusterv3.Cluster, p ir.TrafficPolicy, connect time.Duration) {
	if p.ConnectTimeout != nil {
		connect = *p.ConnectTimeout
	}
	if connect > 0 { // Envoy takes no zero; its default is 5 s
		c.ConnectTimeout = pack.Duration(&connect)
	}
	c.CircuitBreakers = breakers(p)
	c.UpstreamConnectionOptions = keepalive(p.TCPKeepalive)
}
