package compile

import (
	"reflect"
	"slices"

	"github.com/sluicemesh/sluice/xds/api"
	"github.com/sluicemesh/sluice/xds/incr"
	"github.com/sluicemesh/sluice/xds/ir"
	"github.com/sluicemesh/sluice/xds/link"
)

// newHosts links what objects say about host names. A host reads its own name and the
// wildcards above it, never a list of all: the number of reads is that of its labels.
func newHosts(g *incr.Graph, x indexes) *incr.Collection[string, *link.Host] {
	claims := incr.FlatMap(g, "claims", x.byHost, func(a, b *link.Claims) bool { return reflect.DeepEqual(a, b) },
		func(_ *incr.Ctx, host string, group objects) []incr.Entry[string, *link.Claims] {
			c := claimsOf(host, group)
			if len(c.Rules) == 0 && len(c.Routes) == 0 {
				return nil
			}
			return []incr.Entry[string, *link.Claims]{{Key: host, Value: c}}
		})
	return incr.FlatMap(g, "hosts", x.byHost, link.Equal, func(ctx *incr.Ctx, name string, group objects) []incr.Entry[string, *link.Host] {
		var services []*ir.Service
		for _, o := range group {
			for i := range o.Services {
				if o.Services[i].ID.Host == name {
					services = append(services, &o.Services[i])
				}
			}
		}
		var said []*link.Claims
		for _, pattern := range append([]string{name}, link.Wildcards(name)...) {
			c, _ := incr.Get(ctx, claims, pattern)
			said = append(said, c)
		}
		h := link.NewHost(name, services, said)
		if h == nil {
			return nil
		}
		return []incr.Entry[string, *link.Host]{{Key: name, Value: h}}
	})
}

// claimsOf collects the rules and routes for exactly that host or wildcard.
func claimsOf(host string, group objects) *link.Claims {
	c := &link.Claims{}
	var rules []*ir.DestinationRule
	for _, o := range group {
		for i := range o.DestinationRules {
			if o.DestinationRules[i].Host == host {
				rules = append(rules, &o.DestinationRules[i])
			}
		}
		for i := range o.VirtualServices {
			if v := &o.VirtualServices[i]; slices.Contains(v.Hosts, host) && slices.Contains(v.Gateways, ir.MeshGateway) {
				c.Routes = append(c.Routes, v)
			}
		}
	}
	c.Rules, _ = link.MergeRules(rules)
	return c
}

// newEndpoints adds the endpoints of each service port and what they prove.
func (n *nodes) newEndpoints(g *incr.Graph) {
	equal := func(a, b *ir.Endpoints) bool { return reflect.DeepEqual(a, b) }
	n.endpoints = incr.FlatMap(g, "endpoints", n.hosts, equal, func(ctx *incr.Ctx, _ string, h *link.Host) []incr.Entry[ir.EndpointsKey, *ir.Endpoints] {
		var out []incr.Entry[ir.EndpointsKey, *ir.Endpoints]
		for _, s := range h.Services {
			seen := map[uint16]bool{}
			for _, e := range n.endpointsOf(ctx, s) {
				if !seen[e.Key.Port] {
					seen[e.Key.Port] = true
					out = append(out, incr.Entry[ir.EndpointsKey, *ir.Endpoints]{Key: e.Key, Value: &e})
				}
			}
		}
		return out
	})
	equalPeers := func(a, b link.Peers) bool {
		return a.AllMeshTLS == b.AllMeshTLS && slices.Equal(a.Identities, b.Identities)
	}
	n.peers = incr.FlatMap(g, "peers", n.endpoints, equalPeers, func(_ *incr.Ctx, k ir.EndpointsKey, e *ir.Endpoints) []incr.Entry[ir.EndpointsKey, link.Peers] {
		return []incr.Entry[ir.EndpointsKey, link.Peers]{{Key: k, Value: link.PeersOf(e.Endpoints)}}
	})
}

func (n *nodes) endpointsOf(ctx *incr.Ctx, s *ir.Service) []ir.Endpoints {
	mesh, _ := incr.Get(ctx, n.mesh, unit{})
	if s.Registry == ir.External {
		return link.External(s, n.selected(ctx, s), mesh.TrustDomain)
	}
	var slices []*ir.EndpointSlice
	for _, o := range incr.Lookup(ctx, n.index.slices, ir.ServiceID{Namespace: s.ID.Namespace, Host: s.Name}) {
		for i := range o.Slices {
			slices = append(slices, &o.Slices[i])
		}
	}
	return link.SliceMembers{
		Slices: slices, TrustDomain: mesh.TrustDomain,
		Member: func(pod string) (link.Member, bool) { return n.pod(ctx, s.ID.Namespace, pod) },
		Node:   func(name string) ir.Locality { return link.LocalityOf(ir.Locality{}, n.node(ctx, name)) },
	}.Kubernetes(s)
}

// selected are the pods of the service's namespace, if the service selects any.
func (n *nodes) selected(ctx *incr.Ctx, s *ir.Service) []link.Member {
	if len(s.Selector) == 0 {
		return nil
	}
	var out []link.Member
	for _, o := range incr.Lookup(ctx, n.index.pods, s.ID.Namespace) {
		for i := range o.Workloads {
			out = append(out, n.member(ctx, &o.Workloads[i]))
		}
	}
	return out
}

func (n *nodes) pod(ctx *incr.Ctx, namespace, name string) (link.Member, bool) {
	o, ok := incr.Get(ctx, n.converted, objectKey{api.Pod, namespace, name})
	if !ok || len(o.Workloads) == 0 {
		return link.Member{}, false
	}
	return n.member(ctx, &o.Workloads[0]), true
}

func (n *nodes) member(ctx *incr.Ctx, w *ir.Workload) link.Member {
	return link.Member{Workload: w, Locality: link.LocalityOf(w.Locality, n.node(ctx, w.NodeName))}
}

// node is nil for a node that is not known.
func (n *nodes) node(ctx *incr.Ctx, name string) *ir.Node {
	o, ok := incr.Get(ctx, n.converted, objectKey{Kind: api.Node, Name: name})
	if !ok || len(o.Nodes) == 0 {
		return nil
	}
	return &o.Nodes[0]
}
