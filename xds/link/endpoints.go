package link

import (
	"cmp"
	"slices"

	"github.com/sluicemesh/sluice/internal/identity"
	"github.com/sluicemesh/sluice/xds/ir"
)

// Member is a workload with where it runs.
type Member struct {
	*ir.Workload
	Locality ir.Locality
}

// LocalityOf is where a workload is: what its own label says, else its node, which may be
// nil.
func LocalityOf(own ir.Locality, node *ir.Node) ir.Locality {
	if own != (ir.Locality{}) || node == nil {
		return own
	}
	return node.Locality
}

// SliceMembers lets the slices of a service be read with what is known of its pods.
type SliceMembers struct {
	Slices []*ir.EndpointSlice
	// Member returns a pod of the service's namespace; ok is false for one that is not
	// known (yet), whose addresses are then left out.
	Member func(pod string) (m Member, ok bool)
	// Node returns the locality of a node, for endpoints that are no pods.
	Node func(name string) ir.Locality
	// TrustDomain completes the identities.
	TrustDomain string
}

// Kubernetes returns the endpoints of each port of a Kubernetes service.
func (m SliceMembers) Kubernetes(s *ir.Service) []ir.Endpoints {
	var out []ir.Endpoints
	for _, p := range streamPorts(s) {
		eps := ir.Endpoints{Key: ir.EndpointsKey{Service: s.ID, Port: p.Number}}
		for _, slice := range m.Slices {
			i := slices.IndexFunc(slice.Ports, func(sp ir.SlicePort) bool { return sp.Name == p.Name })
			if i < 0 {
				continue
			}
			for _, e := range slice.Endpoints {
				eps.Endpoints = append(eps.Endpoints, m.endpoint(e, slice.Ports[i].Number)...)
			}
		}
		eps.Endpoints = sorted(eps.Endpoints)
		out = append(out, eps)
	}
	return out
}

func (m SliceMembers) endpoint(e ir.SliceEndpoint, port uint16) []ir.Endpoint {
	base := ir.Endpoint{Port: port, Health: e.Health, Weight: 1, NodeName: e.NodeName}
	if e.Pod == "" {
		base.Locality = m.Node(e.NodeName)
		if base.Locality == (ir.Locality{}) {
			base.Locality.Zone = e.Zone
		}
	} else {
		pod, ok := m.Member(e.Pod)
		if !ok {
			return nil
		}
		base = workloadEndpoint(pod, port, m.TrustDomain)
		base.Health = e.Health
	}
	out := make([]ir.Endpoint, 0, len(e.Addresses))
	for _, a := range e.Addresses {
		ep := base
		ep.Address = a
		out = append(out, ep)
	}
	return out
}

// workloadEndpoint is the endpoint of a workload without its address.
func workloadEndpoint(w Member, port uint16, trustDomain string) ir.Endpoint {
	return ir.Endpoint{
		Port: port, Weight: 1, Locality: w.Locality, Labels: w.Labels, MeshTLS: w.MeshTLS, NodeName: w.NodeName,
		ServiceAccount: identity.Identity{TrustDomain: trustDomain, Namespace: w.Namespace, ServiceAccount: w.ServiceAccount}.String(),
	}
}

// External returns the endpoints of each port of a ServiceEntry: those written in it, and
// the pods of its namespace that it selects. members are all pods of the namespace.
func External(s *ir.Service, members []Member, trustDomain string) []ir.Endpoints {
	var out []ir.Endpoints
	for _, p := range streamPorts(s) {
		eps := ir.Endpoints{Key: ir.EndpointsKey{Service: s.ID, Port: p.Number}}
		for _, e := range s.Endpoints {
			if e.ServicePort == p.Number {
				e.ServicePort = 0
				eps.Endpoints = append(eps.Endpoints, e)
			}
		}
		for _, m := range members {
			if len(s.Selector) == 0 || !s.Selector.SubsetOf(m.Labels) {
				continue
			}
			for _, ip := range m.IPs {
				ep := workloadEndpoint(m, p.Target, trustDomain)
				ep.Address = ip
				eps.Endpoints = append(eps.Endpoints, ep)
			}
		}
		eps.Endpoints = sorted(eps.Endpoints)
		out = append(out, eps)
	}
	return out
}

// sorted sorts by address and port; of two that are alike the healthy one stays.
func sorted(eps []ir.Endpoint) []ir.Endpoint {
	slices.SortStableFunc(eps, func(a, b ir.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Health, b.Health))
	})
	return slices.CompactFunc(eps, func(a, b ir.Endpoint) bool { return a.Address == b.Address && a.Port == b.Port })
}

// Peers is what the endpoints of a service port prove and accept.
type Peers struct {
	// Identities are the SPIFFE IDs that a server there may have, sorted and unique.
	Identities []string
	// AllMeshTLS says that there are endpoints and every one accepts mesh mTLS.
	AllMeshTLS bool
}

// PeersOf sums up endpoints. Only endpoints that accept mesh mTLS prove an identity.
func PeersOf(eps []ir.Endpoint) Peers {
	p := Peers{AllMeshTLS: len(eps) > 0}
	for _, e := range eps {
		if !e.MeshTLS {
			p.AllMeshTLS = false
			continue
		}
		if e.ServiceAccount != "" {
			p.Identities = append(p.Identities, e.ServiceAccount)
		}
	}
	slices.Sort(p.Identities)
	p.Identities = slices.Compact(p.Identities)
	return p
}
