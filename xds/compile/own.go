package compile

import (
	"slices"

	"github.com/sluicemesh/sluice/internal/nodemeta"
	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/envoy"
	"github.com/sluicemesh/sluice/xds/envoy/cluster"
	"github.com/sluicemesh/sluice/xds/envoy/listener"
	"github.com/sluicemesh/sluice/xds/incr"
	"github.com/sluicemesh/sluice/xds/ir"
	"github.com/sluicemesh/sluice/xds/names"
	"github.com/sluicemesh/sluice/xds/view"
)

// inbound is what a sidecar's class has because of its own ports.
func (n *nodes) inbound(ctx *incr.Ctx, _ ownerID, m *member) []wantEntry {
	if m.class.Role != nodemeta.Sidecar || m.class.Interception == "NONE" {
		return nil
	}
	mesh, _ := incr.Get(ctx, n.mesh, unit{})
	w := wants{owner: m.id}
	key := cluster.KeyOf(mesh, m.class.Families, false)
	ports := view.Inbound(m.class, n.selecting(ctx, m))
	in := listener.Inbound{}
	var from []problem.Origin
	for _, p := range ports {
		in.Ports = append(in.Ports, p.Listener)
		from = append(from, p.First.From)
		c := cluster.Inbound{Port: p.Listener.Port, Protocol: p.Listener.Protocol, Owners: p.Owners}
		if h, ok := incr.Get(ctx, n.hosts, p.First.ID.Host); ok {
			c.Policy = h.Rule(m.class.Namespace, mesh.RootNamespace, p.First).For("", p.Port)
		}
		w.add(clusters, names.Inbound(c.Port), inboundRecipe{sum(c), key, p.First.From})
	}
	slices.SortFunc(from, problem.Origin.Compare)
	w.add(clusters, names.InboundPassthroughCluster, fixedRecipe{names.InboundPassthroughCluster, key})
	w.add(listeners, names.VirtualInbound, virtualInboundRecipe{sum(in), listener.KeyOf(mesh, m.class), listOf(slices.Compact(from))})
	return w.list
}

// selecting are the services of the class's namespace that may select it.
func (n *nodes) selecting(ctx *incr.Ctx, m *member) []*ir.Service {
	var out []*ir.Service
	for _, pair := range m.class.LabelPairs() {
		for _, o := range incr.Lookup(ctx, n.index.selectors, selector{m.class.Namespace, pair}) {
			for i := range o.Services {
				s := &o.Services[i]
				if len(s.Selector) > 0 && s.Selector[0] == pair {
					out = append(out, s)
				}
			}
		}
	}
	return out
}

// inboundRecipe makes the cluster of one of the pod's own ports.
type inboundRecipe struct {
	sum  string // of a cluster.Inbound
	key  cluster.Key
	from problem.Origin
}

func (r inboundRecipe) make(*incr.Ctx, *nodes) *envoy.Resource {
	in := recall[cluster.Inbound](r.sum)
	return encode(clusters, names.Inbound(in.Port), cluster.BuildInbound(in, r.key), r.from)
}

// virtualInboundRecipe makes the listener that receives everything.
type virtualInboundRecipe struct {
	sum  string // of a listener.Inbound
	key  listener.Key
	from list // of problem.Origin
}

func (r virtualInboundRecipe) make(*incr.Ctx, *nodes) *envoy.Resource {
	l := listener.VirtualInbound(recall[listener.Inbound](r.sum), r.key)
	return encode(listeners, names.VirtualInbound, l, items[problem.Origin](r.from)...)
}
