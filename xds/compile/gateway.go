package compile

import (
	"reflect"
	"slices"

	"github.com/sluicemesh/sluice/internal/nodemeta"
	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/internal/routetable"
	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy"
	"github.com/sluicemesh/sluice/xds/envoy/cluster"
	"github.com/sluicemesh/sluice/xds/envoy/listener"
	"github.com/sluicemesh/sluice/xds/incr"
	"github.com/sluicemesh/sluice/xds/ir"
	"github.com/sluicemesh/sluice/xds/names"
	"github.com/sluicemesh/sluice/xds/view"
)

// tableKey is one table of a class of gateways.
type tableKey struct {
	owner ownerID
	route string // empty: the problems of all
}

// gatewayTable is what a class opens on one port and address.
type gatewayTable struct {
	class    class.Class
	table    view.Table
	problems []problem.Problem
}

// addGateways adds the listeners and route tables of gateways. The servers of a port, its
// virtual hosts and each host are steps of their own: a VirtualService that changes makes
// its own hosts again.
func (n *nodes) addGateways(g *incr.Graph, classes *incr.Collection[ownerID, *member]) {
	equal := func(a, b gatewayTable) bool { return reflect.DeepEqual(a, b) }
	open := incr.FlatMap(g, "gateway tables", classes, equal, n.gatewayTables)
	n.addLayer(g, incr.FlatMap(g, "gateway hosts", open, equalWant, n.gatewayHosts))
}

func (n *nodes) gatewayTables(ctx *incr.Ctx, id ownerID, m *member) []incr.Entry[tableKey, gatewayTable] {
	if m.class.Role != nodemeta.Router {
		return nil
	}
	var gateways []*ir.Gateway
	for _, pair := range append(m.class.LabelPairs(), "") {
		for _, o := range incr.Lookup(ctx, n.index.gateways, pair) {
			for i := range o.Gateways {
				gateways = append(gateways, &o.Gateways[i])
			}
		}
	}
	found, problems := view.Tables(m.class, gateways, n.selecting(ctx, m))
	out := []incr.Entry[tableKey, gatewayTable]{{Key: tableKey{owner: id}, Value: gatewayTable{problems: problems}}}
	for _, t := range found {
		out = append(out, incr.Entry[tableKey, gatewayTable]{
			Key: tableKey{id, t.Listener.Route}, Value: gatewayTable{class: m.class, table: t},
		})
	}
	return out
}

func (n *nodes) gatewayHosts(ctx *incr.Ctx, at tableKey, t gatewayTable) []wantEntry {
	w := wants{owner: at.owner}
	if at.route == "" {
		w.blame("gateways", t.problems)
		return w.list
	}
	mesh, _ := incr.Get(ctx, n.mesh, unit{})
	hosts := t.table.Hosts(t.class, func(gateway string) []*ir.VirtualService {
		var out []*ir.VirtualService
		for _, o := range incr.Lookup(ctx, n.index.bound, gateway) {
			for i := range o.VirtualServices {
				out = append(out, &o.VirtualServices[i])
			}
		}
		return out
	})
	s := scope{at.owner, view.ScopeOf(t.class)}
	bind := view.Bind{Addr: t.table.Listener.Bind, Port: t.table.Listener.Port}
	var from []problem.Origin
	for _, server := range t.table.Servers {
		if !slices.Contains(from, server.From) {
			from = append(from, server.From)
		}
	}
	w.add(listeners, listenerName(bind, s), gatewayRecipe{listenerName(bind, s), t.table.Listener, listener.KeyOf(mesh, t.class), listOf(from)})
	w.add(tables, at.route, shellRecipe{at.route})
	for _, h := range hosts {
		w.add(virtualHosts, routetable.HostName(at.route, names.VirtualHost(h.Domain, h.Port)), n.gatewayHost(ctx, t, mesh, h))
	}
	if len(hosts) == 0 {
		port := t.table.Listener.Port
		w.add(virtualHosts, routetable.HostName(at.route, names.BlackholeVirtualHost(port)), blackholeRecipe{at.route, port})
	}
	return w.list
}

func (n *nodes) gatewayHost(ctx *incr.Ctx, t gatewayTable, mesh ir.Mesh, h view.GatewayHost) recipe {
	r := routedHostRecipe{hostRecipe: hostRecipe{
		table: t.table.Listener.Route, name: names.VirtualHost(h.Domain, h.Port), port: h.Port,
		domains: h.Domain, requireTLS: h.RequireTLS,
	}}
	rules := make([]ruleRecipe, len(h.Rules))
	for i, rule := range h.Rules {
		rules[i] = n.rule(ctx, client{t.class.Namespace, h.Port, mesh.RootNamespace, cluster.KeyOf(mesh, t.class.Families, true)}, rule.Service, rule.Position)
	}
	r.rules = listOf(rules)
	return r
}

// gatewayRecipe makes the listener of a gateway port.
type gatewayRecipe struct {
	name    string
	gateway listener.Gateway
	key     listener.Key
	from    list // of problem.Origin
}

func (r gatewayRecipe) make(*incr.Ctx, *nodes) *envoy.Resource {
	return encode(listeners, r.name, listener.BuildGateway(r.gateway, r.key), items[problem.Origin](r.from)...)
}
