package compile

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/internal/routetable"
	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy"
	"github.com/sluicemesh/sluice/xds/envoy/cluster"
	"github.com/sluicemesh/sluice/xds/envoy/endpoint"
	"github.com/sluicemesh/sluice/xds/envoy/route"
	"github.com/sluicemesh/sluice/xds/incr"
	"github.com/sluicemesh/sluice/xds/ir"
	"github.com/sluicemesh/sluice/xds/link"
	"github.com/sluicemesh/sluice/xds/names"
)

// encode is envoy.Encode for a message that may not exist.
func encode[M interface {
	comparable
	proto.Message
}](k kind, name string, m M, from ...problem.Origin) *envoy.Resource {
	var none M
	if m == none {
		return nil
	}
	return envoy.Encode(k.typeURL(), name, m, from...)
}

// clusterRecipe makes the cluster of a service port or of a subset of it.
type clusterRecipe struct {
	service *ir.Service
	port    uint16
	subset  string
	rule    *link.Rule
	key     cluster.Key
}

// outbound is what the builder takes, without what depends on endpoints.
func (r clusterRecipe) outbound() cluster.Outbound {
	o := cluster.Outbound{Service: *r.service, Policy: r.rule.For(r.subset, r.port)}
	o.Port, _ = r.service.Port(r.port)
	if r.rule != nil {
		o.Rule = r.rule.Origins[0]
	}
	if sub, ok := r.rule.Subset(r.subset); ok {
		o.Subset = &sub
	}
	return o
}

func (r clusterRecipe) make(ctx *incr.Ctx, n *nodes) *envoy.Resource {
	o := r.outbound()
	at := ir.EndpointsKey{Service: r.service.ID, Port: r.port}
	if o.Policy.TLS == ir.AutoTLS || o.Policy.TLS == ir.MeshMutualTLS {
		peers, _ := incr.Get(ctx, n.peers, at)
		o.Peers = peers.Identities
		o.AllMeshTLS = peers.AllMeshTLS && r.service.Resolution == ir.Passthrough
	}
	if r.service.Resolution == ir.DNS || r.service.Resolution == ir.DNSRoundRobin {
		if eps, ok := incr.Get(ctx, n.endpoints, at); ok {
			o.Endpoints = eps.Endpoints
		}
	}
	from := []problem.Origin{r.service.From}
	if r.rule != nil {
		from = append(from, r.rule.Origins...)
	}
	name := names.Outbound{Port: r.port, Subset: r.subset, Host: r.service.ID.Host}.String()
	return encode(clusters, name, cluster.BuildOutbound(o, r.key), from...)
}

// endpoints is the recipe of the cluster's load assignment.
func (r clusterRecipe) endpoints(markPlain bool) endpointsRecipe {
	out := endpointsRecipe{
		service: r.service, port: r.port, subset: r.subset,
		key: endpoint.Key{Families: r.key.Families, MarkPlain: markPlain},
	}
	if r.subset != "" {
		out.rule = r.rule
	}
	return out
}

// endpointsRecipe makes the load assignment of a cluster.
type endpointsRecipe struct {
	service *ir.Service
	port    uint16
	subset  string
	rule    *link.Rule // of the subset
	key     endpoint.Key
}

func (r endpointsRecipe) make(ctx *incr.Ctx, n *nodes) *envoy.Resource {
	var eps []ir.Endpoint
	if e, ok := incr.Get(ctx, n.endpoints, ir.EndpointsKey{Service: r.service.ID, Port: r.port}); ok {
		eps = e.Endpoints
	}
	from := []problem.Origin{r.service.From}
	sub, ok := r.rule.Subset(r.subset)
	if ok {
		from = append(from, r.rule.Origins...)
	}
	name := names.Outbound{Port: r.port, Subset: r.subset, Host: r.service.ID.Host}.String()
	return encode(assignments, name, endpoint.Build(name, eps, sub.Labels, r.key), from...)
}

// shellRecipe makes a route table without its virtual hosts.
type shellRecipe struct{ name string }

func (r shellRecipe) make(*incr.Ctx, *nodes) *envoy.Resource {
	return encode(tables, r.name, route.Shell(r.name))
}

// catchAllRecipe makes the virtual host for unknown hosts of a table.
type catchAllRecipe struct {
	table string
	mode  ir.OutboundMode
}

// name is the virtual host's.
func (r catchAllRecipe) name() string {
	if r.mode == ir.RegistryOnly {
		return names.BlockAllVirtualHost
	}
	return names.AllowAnyVirtualHost
}

func (r catchAllRecipe) make(*incr.Ctx, *nodes) *envoy.Resource {
	return encode(virtualHosts, routetable.HostName(r.table, r.name()), route.CatchAll(r.mode))
}

// blackholeRecipe makes the only virtual host of a gateway port without routes.
type blackholeRecipe struct {
	table string
	port  uint16
}

func (r blackholeRecipe) make(*incr.Ctx, *nodes) *envoy.Resource {
	return encode(virtualHosts, routetable.HostName(r.table, names.BlackholeVirtualHost(r.port)), route.Blackhole(r.port))
}

// hostRecipe is what all virtual hosts of services and routes have.
type hostRecipe struct {
	table, name string
	port        uint16
	domains     string // joined by commas
	requireTLS  bool
}

func (r hostRecipe) host() route.VirtualHost {
	return route.VirtualHost{
		Name: r.name, Domains: strings.Split(r.domains, ","), Port: r.port, RequireTLS: r.requireTLS,
	}
}

// plainHostRecipe makes the virtual host of a service that no VirtualService claims.
type plainHostRecipe struct {
	hostRecipe
	service *ir.Service
	target  target
}

func (r plainHostRecipe) make(*incr.Ctx, *nodes) *envoy.Resource {
	return encode(virtualHosts, routetable.HostName(r.table, r.name), route.Default(r.host(), r.target.target()), r.service.From)
}

// routedHostRecipe makes the virtual host of VirtualService routes.
type routedHostRecipe struct {
	hostRecipe
	rules list // of ruleRecipe
}

func (r routedHostRecipe) make(*incr.Ctx, *nodes) *envoy.Resource {
	v := r.host()
	var from []problem.Origin
	for _, rule := range items[ruleRecipe](r.rules) {
		v.Rules = append(v.Rules, rule.rule())
		if !slices.Contains(from, rule.service.From) {
			from = append(from, rule.service.From)
		}
	}
	return encode(virtualHosts, routetable.HostName(r.table, r.name), route.Build(v), from...)
}

// fixedRecipe makes a cluster that every proxy has.
type fixedRecipe struct {
	name string
	key  cluster.Key
}

func (r fixedRecipe) make(*incr.Ctx, *nodes) *envoy.Resource {
	switch r.name {
	case names.PassthroughCluster:
		return encode(clusters, r.name, cluster.Passthrough(r.key))
	case names.InboundPassthroughCluster:
		return encode(clusters, r.name, cluster.InboundPassthrough(r.key))
	}
	return encode(clusters, r.name, cluster.BlackHole(r.key))
}

// bits of a scope that listeners depend on, as the class that listener.KeyOf takes.
func (s scope) listenerClass() class.Class {
	return class.Class{Families: s.Families, Interception: s.Interception}
}
