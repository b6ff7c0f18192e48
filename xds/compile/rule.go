package compile

import (
	"github.com/sluicemesh/sluice/xds/envoy/cluster"
	"github.com/sluicemesh/sluice/xds/envoy/route"
	"github.com/sluicemesh/sluice/xds/envoy/tlscontext"
	"github.com/sluicemesh/sluice/xds/incr"
	"github.com/sluicemesh/sluice/xds/ir"
	"github.com/sluicemesh/sluice/xds/link"
	"github.com/sluicemesh/sluice/xds/names"
)

// client is who asks for a destination.
type client struct {
	namespace string
	port      uint16 // of the listener or server
	root      string // namespace of mesh-wide rules
	key       cluster.Key
}

// target is a destination as a virtual host depends on it.
type target struct {
	cluster string
	alpn    tlscontext.ALPN
	hash    *ir.HashOn
}

// targetOf describes a resolved destination.
func targetOf(t link.Target, host, subset string, key cluster.Key) target {
	out := target{cluster: names.Outbound{Port: t.Port.Number, Subset: subset, Host: host}.String()}
	policy := t.Rule.For(subset, t.Port.Number)
	out.hash = policy.Hash
	if t.Service == nil {
		return out
	}
	if p, known := t.Service.Port(t.Port.Number); known {
		out.alpn = cluster.RouteALPN(cluster.Outbound{Service: *t.Service, Port: p, Policy: policy}, key)
	}
	return out
}

// ruleRecipe is one rule of a VirtualService with what its destinations resolved to.
type ruleRecipe struct {
	service  *ir.VirtualService
	position int
	targets  list // of target, parallel to the backends
	mirrors  list // of string, parallel to the mirrors
}

// rule resolves the destinations of one rule.
func (n *nodes) rule(ctx *incr.Ctx, c client, v *ir.VirtualService, position int) ruleRecipe {
	r := v.HTTP[position]
	targets := make([]target, len(r.Backends))
	for i, b := range r.Backends {
		targets[i] = targetOf(n.resolve(ctx, c, b.Host, b.Port), b.Host, b.Subset, c.key)
	}
	mirrors := make([]string, len(r.Mirrors))
	for i, m := range r.Mirrors {
		mirrors[i] = targetOf(n.resolve(ctx, c, m.Host, m.Port), m.Host, m.Subset, c.key).cluster
	}
	return ruleRecipe{v, position, listOf(targets), listOf(mirrors)}
}

func (n *nodes) resolve(ctx *incr.Ctx, c client, host string, port uint16) link.Target {
	h, _ := incr.Get(ctx, n.hosts, host)
	return link.Resolve(h, port, c.port, c.namespace, c.root)
}

// rule is what the builder takes.
func (r ruleRecipe) rule() route.Rule {
	out := route.Rule{Route: r.service.HTTP[r.position], From: r.service.From, Mirrors: items[string](r.mirrors)}
	for _, t := range items[target](r.targets) {
		out.Targets = append(out.Targets, t.target())
	}
	return out
}

func (t target) target() route.Target {
	return route.Target{Cluster: t.cluster, ALPN: t.alpn, Hash: t.hash}
}
