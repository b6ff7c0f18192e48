// Package endpoint builds load assignments: the endpoints of one service port, or of one
// subset of it, as Envoy takes them.
//
// The parameters of Build are its cache key. The package is pure; which service the
// endpoints belong to and which of them exist was settled before.
package endpoint

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy/pack"
	"github.com/sluicemesh/sluice/xds/ir"
)

// Key is what besides the endpoints decides an assignment. It is comparable.
type Key struct {
	// Families are those of the proxy's pod; endpoints of others are left out. 0 means all.
	Families class.Families
	// MarkPlain marks the endpoints without a proxy with the metadata that the cluster's
	// match tlsMode-disabled looks for; cluster.MarksPlain says whether a cluster has it.
	// Endpoints with a proxy carry no metadata at all: it costs Envoy 5 KB each.
	MarkPlain bool
}

// matchKey is where Envoy looks for what selects a cluster's transport socket.
const matchKey = "envoy.transport_socket_match"

// PlainMatch is the metadata of endpoints without a proxy, {tlsMode: disabled}, which the
// cluster's match for plain connections asks for.
func PlainMatch() *structpb.Struct { return pack.Strings("tlsMode", "disabled") }

// Build returns the load assignment of the cluster name.
//
// Endpoints that subset does not select are left out. The rest are grouped by locality;
// localities are sorted by region, zone and subzone, endpoints keep their order. A
// locality weighs as much as its endpoints together; endpoints of weight 0 count as 1.
// Unhealthy endpoints are included as such. Without endpoints the assignment is empty, not
// nil: Envoy then answers 503 at once instead of waiting for its endpoints.
// The result is new and owned by the caller; eps is not kept.
func Build(name string, eps []ir.Endpoint, subset ir.Labels, k Key) *endpointv3.ClusterLoadAssignment {
	chosen := make([]*ir.Endpoint, 0, len(eps))
	for i := range eps {
		if subset.SubsetOf(eps[i].Labels) && reachable(eps[i].Address, k.Families) {
			chosen = append(chosen, &eps[i])
		}
	}
	slices.SortStableFunc(chosen, func(a, b *ir.Endpoint) int { return compareLocality(a.Locality, b.Locality) })
	out := &endpointv3.ClusterLoadAssignment{ClusterName: name}
	cells := make([]cell, len(chosen))
	for start := 0; start < len(chosen); {
		end := start + 1
		for end < len(chosen) && chosen[end].Locality == chosen[start].Locality {
			end++
		}
		out.Endpoints = append(out.Endpoints, locality(chosen[start:end], cells[start:end], k))
		start = end
	}
	return out
}

// compareLocality orders localities from the widest part to the narrowest.
func compareLocality(a, b ir.Locality) int {
	return cmp.Or(strings.Compare(a.Region, b.Region), strings.Compare(a.Zone, b.Zone), strings.Compare(a.SubZone, b.SubZone))
}

// reachable reports whether a proxy of the families can connect to the address. Names are
// resolved by the proxy itself, which asks for its own families only.
func reachable(address string, f class.Families) bool {
	if f == 0 {
		return true
	}
	ip, err := netip.ParseAddr(address)
	switch {
	case err != nil:
		return true
	case ip.Is4():
		return f&class.IPv4 != 0
	}
	return f&class.IPv6 != 0
}

// cell holds the messages of one endpoint, so that all endpoints of an assignment take one
// allocation instead of eight each.
type cell struct {
	lb       endpointv3.LbEndpoint
	host     endpointv3.LbEndpoint_Endpoint
	endpoint endpointv3.Endpoint
	address  corev3.Address
	oneof    corev3.Address_SocketAddress
	socket   corev3.SocketAddress
	port     corev3.SocketAddress_PortValue
	weight   wrapperspb.UInt32Value
}

// locality returns one group. eps is not empty; cells is as long.
func locality(eps []*ir.Endpoint, cells []cell, k Key) *endpointv3.LocalityLbEndpoints {
	group := &endpointv3.LocalityLbEndpoints{LbEndpoints: make([]*endpointv3.LbEndpoint, len(eps))}
	if l := eps[0].Locality; l != (ir.Locality{}) {
		group.Locality = &corev3.Locality{Region: l.Region, Zone: l.Zone, SubZone: l.SubZone}
	}
	var sum uint32
	for i, ep := range eps {
		group.LbEndpoints[i] = cells[i].fill(ep, k)
		sum += cells[i].weight.Value
	}
	group.LoadBalancingWeight = wrapperspb.UInt32(sum)
	return group
}

// fill writes one endpoint into the cell and returns its message.
func (c *cell) fill(ep *ir.Endpoint, k Key) *endpointv3.LbEndpoint {
	c.port.PortValue = uint32(ep.Port)
	c.socket.Address, c.socket.PortSpecifier = ep.Address, &c.port
	c.oneof.SocketAddress = &c.socket
	c.address.Address = &c.oneof
	c.endpoint.Address = &c.address
	c.host.Endpoint = &c.endpoint
	c.weight.Value = max(ep.Weight, 1)
	c.lb.HostIdentifier, c.lb.LoadBalancingWeight = &c.host, &c.weight
	c.lb.HealthStatus = corev3.HealthStatus_HEALTHY
	if ep.Health == ir.Unhealthy {
		c.lb.HealthStatus = corev3.HealthStatus_UNHEALTHY
	}
	if k.MarkPlain && !ep.MeshTLS {
		c.lb.Metadata = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{matchKey: PlainMatch()}}
	}
	return &c.lb
}
