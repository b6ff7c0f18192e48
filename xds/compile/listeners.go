package compile

import (
	"encoding/json"
	"net/netip"
	"slices"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/internal/routetable"
	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy"
	"github.com/sluicemesh/sluice/xds/envoy/cluster"
	"github.com/sluicemesh/sluice/xds/envoy/listener"
	"github.com/sluicemesh/sluice/xds/incr"
	"github.com/sluicemesh/sluice/xds/ir"
	"github.com/sluicemesh/sluice/xds/link"
	"github.com/sluicemesh/sluice/xds/names"
	"github.com/sluicemesh/sluice/xds/view"
)

// claimKey is the place of a claim: one host asks once for an address and port.
type claimKey struct {
	place
	host string
}

// place is an outbound listener of a scope.
type place struct {
	owner ownerID
	bind  view.Bind
}

// placed is a claim with its place.
type placed struct {
	place
	*view.Claim
}

// addListeners adds the outbound listeners of scopes: what services claim, gathered by
// address and port.
func (n *nodes) addListeners(g *incr.Graph, pairs *incr.Collection[pair, scopedHost]) {
	equal := func(a, b placed) bool { return a.place == b.place && equalClaim(a.Claim, b.Claim) }
	claims := incr.FlatMap(g, "listener claims", pairs, equal, n.claims)
	byPlace := incr.Index(g, "listener places", claims, func(_ claimKey, p placed) []place { return []place{p.place} },
		func(a, b placed) int { return compareClaims(a.Claim, b.Claim) })
	n.addLayer(g, incr.FlatMap(g, "listeners", byPlace, equalWant, n.listener))
}

func equalClaim(a, b *view.Claim) bool {
	return a.Bind == b.Bind && a.Port == b.Port && a.Protocol == b.Protocol && a.Route == b.Route && a.Host == b.Host &&
		a.From == b.From && slices.Equal(a.Also, b.Also) && sum(a.Streams) == sum(b.Streams)
}

// compareClaims puts older services first. Two hosts of one object are told apart by name.
func compareClaims(a, b *view.Claim) int {
	if c := a.From.Compare(b.From); c != 0 {
		return c
	}
	switch {
	case a.Host < b.Host:
		return -1
	case a.Host > b.Host:
		return 1
	}
	return 0
}

// sum is a comparable form of a plain value; recall undoes it.
func sum(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic("compile: " + err.Error()) // plain values always encode
	}
	return string(text)
}

// recall returns the value that sum was made of.
func recall[T any](text string) T {
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic("compile: " + err.Error()) // sum wrote it
	}
	return v
}

func (n *nodes) claims(ctx *incr.Ctx, _ pair, v scopedHost) []incr.Entry[claimKey, placed] {
	if v.A.Router {
		return nil
	}
	s := n.see(ctx, v)
	if s == nil {
		return nil
	}
	if s.service == nil {
		return s.routeClaim()
	}
	ports := view.Ports{
		Scope: s.scope.Scope, Service: s.service, Rule: s.rule, Routes: s.routes,
		Endpoints: func(port uint16) []ir.Endpoint {
			e, ok := incr.Get(ctx, n.endpoints, ir.EndpointsKey{Service: s.service.ID, Port: port})
			if !ok {
				return nil
			}
			return e.Endpoints
		},
		Cluster: func(b ir.Backend, port uint16) string {
			t := n.resolve(ctx, s.client(port), b.Host, b.Port)
			return targetOf(t, b.Host, b.Subset, s.key).cluster
		},
	}
	var out []incr.Entry[claimKey, placed]
	for _, c := range ports.Claims() {
		out = append(out, s.place(c))
	}
	return out
}

func (s *sight) place(c view.Claim) incr.Entry[claimKey, placed] {
	at := place{s.scope.id, view.Bind{Addr: c.Bind, Port: c.Port}}
	return incr.Entry[claimKey, placed]{Key: claimKey{at, c.Host}, Value: placed{at, &c}}
}

// routeClaim is the claim of a host that only VirtualServices name: HTTP on port 80, if a
// rule holds there.
func (s *sight) routeClaim() []incr.Entry[claimKey, placed] {
	source := link.Source{Gateway: ir.MeshGateway, Port: 80, Namespace: s.scope.Namespace}
	positions, byLabels := source.Rules(s.routes)
	if len(positions) == 0 && !byLabels || !s.scope.Opens(80) {
		return nil
	}
	return []incr.Entry[claimKey, placed]{s.place(view.Claim{
		Port: 80, Protocol: ir.HTTP, Route: names.PortRoute(80), Host: s.host.Name, From: s.routes.From,
	})}
}

// listener makes the listener of one place, and the table that it shares with nobody else
// when it serves HTTP for all addresses.
func (n *nodes) listener(ctx *incr.Ctx, at place, group []placed) []wantEntry {
	mesh, _ := incr.Get(ctx, n.mesh, unit{})
	m := incr.Lookup(ctx, n.classesOf, at.owner)
	if len(m) == 0 {
		return nil // the scope is leaving
	}
	s := scope{at.owner, view.ScopeOf(m[0].class)}
	claims := make([]*view.Claim, len(group))
	for i, p := range group {
		claims[i] = p.Claim
	}
	out, problems := view.Fold(at.bind, claims)
	w := wants{owner: at.owner}
	key := listener.KeyOf(mesh, s.listenerClass())
	name := listenerName(at.bind, s)
	w.add(listeners, name, outboundRecipe{name, sum(out), key, listOf(origins(claims))})
	w.blame(name, problems)
	if out.Route != "" && !at.bind.Addr.IsValid() {
		w.add(tables, out.Route, shellRecipe{out.Route})
		all := catchAllRecipe{out.Route, mesh.Outbound}
		w.add(virtualHosts, routetable.HostName(out.Route, all.name()), all)
	}
	return w.list
}

// listenerName is the name of the listener of a place.
func listenerName(b view.Bind, s scope) string {
	addr := b.Addr
	four := s.Families&class.IPv4 != 0
	switch {
	case addr.IsValid():
	case s.Bound() && four:
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case s.Bound():
		addr = netip.IPv6Loopback()
	case four:
		addr = netip.IPv4Unspecified()
	default:
		addr = netip.IPv6Unspecified()
	}
	return names.Listener(addr, b.Port)
}

// outboundRecipe makes an outbound listener.
type outboundRecipe struct {
	name string
	sum  string // of a listener.Outbound
	key  listener.Key
	from list // of problem.Origin
}

func (r outboundRecipe) make(*incr.Ctx, *nodes) *envoy.Resource {
	l := listener.BuildOutbound(recall[listener.Outbound](r.sum), r.key)
	return encode(listeners, r.name, l, items[problem.Origin](r.from)...)
}

// origins are the objects that a listener comes from: the oldest claim, which it exists
// for, and those that are more than one of many HTTP services of a port.
func origins(claims []*view.Claim) []problem.Origin {
	var out []problem.Origin
	for i, c := range claims {
		if (i == 0 || len(c.Streams) > 0) && !slices.Contains(out, c.From) {
			out = append(out, c.From)
		}
	}
	return out
}

// fixed is what every scope has, whatever the mesh holds.
func (n *nodes) fixed(ctx *incr.Ctx, _ ownerID, s scope) []wantEntry {
	mesh, _ := incr.Get(ctx, n.mesh, unit{})
	w := wants{owner: s.id}
	key := cluster.KeyOf(mesh, s.Families, s.Router)
	w.add(clusters, names.BlackHoleCluster, fixedRecipe{names.BlackHoleCluster, key})
	if s.Router {
		return w.list
	}
	w.add(clusters, names.PassthroughCluster, fixedRecipe{names.PassthroughCluster, key})
	if !s.Bound() {
		w.add(listeners, names.VirtualOutbound, virtualOutboundRecipe{listener.KeyOf(mesh, s.listenerClass())})
	}
	return w.list
}

type virtualOutboundRecipe struct{ key listener.Key }

func (r virtualOutboundRecipe) make(*incr.Ctx, *nodes) *envoy.Resource {
	return encode(listeners, names.VirtualOutbound, listener.VirtualOutbound(r.key))
}
