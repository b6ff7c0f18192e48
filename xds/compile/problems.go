package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/api"
	"github.com/sluicemesh/sluice/xds/incr"
	"github.com/sluicemesh/sluice/xds/ir"
	"github.com/sluicemesh/sluice/xds/link"
)

// newMistakes finds references of objects that lead nowhere, and objects that lose against
// others. It looks from the namespace of the object.
func newMistakes(g *incr.Graph, n *nodes) *incr.Collection[objectKey, []problem.Problem] {
	subjects := incr.Index(g, "subjects", n.converted, func(k objectKey, o *object) []objectKey {
		if len(o.VirtualServices)+len(o.DestinationRules)+len(o.Services) == 0 {
			return nil
		}
		return []objectKey{k}
	}, compareObjects)
	return incr.FlatMap(g, "references", subjects, slices.Equal[[]problem.Problem], func(ctx *incr.Ctx, k objectKey, group objects) []incr.Entry[objectKey, []problem.Problem] {
		c := checker{n: n, ctx: ctx}
		mesh, _ := incr.Get(ctx, n.mesh, unit{})
		c.root = mesh.RootNamespace
		for _, o := range group {
			c.check(o)
		}
		if len(c.found) == 0 {
			return nil
		}
		return []incr.Entry[objectKey, []problem.Problem]{{Key: k, Value: c.found}}
	})
}

type checker struct {
	n     *nodes
	ctx   *incr.Ctx
	root  string
	found []problem.Problem
}

func (c *checker) note(from problem.Origin, path, reason, format string, args ...any) {
	c.found = append(c.found, problem.Problem{Origin: from, Path: path, Reason: reason, Message: fmt.Sprintf(format, args...)})
}

func (c *checker) check(o *object) {
	for i := range o.Services {
		c.service(&o.Services[i])
	}
	for i := range o.VirtualServices {
		c.virtualService(&o.VirtualServices[i])
	}
	for i := range o.DestinationRules {
		c.rule(&o.DestinationRules[i])
	}
}

// service notes a service that another of the same host and namespace hides.
func (c *checker) service(s *ir.Service) {
	h, ok := incr.Get(c.ctx, c.n.hosts, s.ID.Host)
	if !ok {
		return
	}
	for _, o := range h.Services {
		if o.ID == s.ID && o.From != s.From {
			c.note(s.From, "spec.hosts", "HostConflict", "%s belongs to the older or stronger %s; add the ports there, or remove the host", s.ID.Host, o.From)
		}
	}
}

func (c *checker) virtualService(v *ir.VirtualService) {
	for i, name := range v.Gateways {
		if name == ir.MeshGateway {
			continue
		}
		ns, short, _ := strings.Cut(name, "/")
		if o, ok := incr.Get(c.ctx, c.n.converted, objectKey{api.Gateway, ns, short}); !ok || len(o.Gateways) == 0 {
			c.note(v.From, fmt.Sprintf("spec.gateways[%d]", i), "UnknownGateway", "there is no Gateway %s; create it or correct the name", name)
		}
	}
	for _, r := range v.HTTP {
		for _, b := range r.Backends {
			c.destination(v, b.Host, b.Subset, b.Port)
		}
		for _, m := range r.Mirrors {
			c.destination(v, m.Host, m.Subset, m.Port)
		}
	}
	for _, r := range slices.Concat(v.TLS, v.TCP) {
		for _, b := range r.Backends {
			c.destination(v, b.Host, b.Subset, b.Port)
		}
	}
	if slices.Contains(v.Gateways, ir.MeshGateway) {
		c.claimed(v)
	}
	c.found = compact(c.found)
}

// destination notes a destination that leads nowhere.
func (c *checker) destination(v *ir.VirtualService, host, subset string, port uint16) {
	h, _ := incr.Get(c.ctx, c.n.hosts, host)
	t := link.Resolve(h, port, port, v.Namespace, c.root)
	switch {
	case t.Service == nil:
		c.note(v.From, "spec", "UnknownHost", "there is no service %s that namespace %s sees; requests get 503", host, v.Namespace)
		return
	case port != 0 && t.Port.Name == "" && t.Port.Target == 0 && t.Port.TargetName == "":
		c.note(v.From, "spec", "UnknownPort", "service %s has no port %d; requests get 503", host, port)
	}
	if _, ok := t.Rule.Subset(subset); subset != "" && !ok {
		c.note(v.From, "spec", "UnknownSubset", "no DestinationRule for %s has a subset %s; requests get 503", host, subset)
	}
}

// claimed notes hosts that an older VirtualService owns.
func (c *checker) claimed(v *ir.VirtualService) {
	for i, name := range v.Hosts {
		h, ok := incr.Get(c.ctx, c.n.hosts, name)
		if !ok {
			continue
		}
		owner := h.Route(v.Namespace)
		if owner != nil && owner != v && owner.From != v.From && slices.Contains(owner.Hosts, name) {
			c.note(v.From, fmt.Sprintf("spec.hosts[%d]", i), "HostConflict", "the older %s owns %s in the mesh; move the rules there", owner.From, name)
		}
	}
}

func (c *checker) rule(r *ir.DestinationRule) {
	group := incr.Lookup(c.ctx, c.n.index.byHost, r.Host)
	var rules []*ir.DestinationRule
	for _, o := range group {
		for i := range o.DestinationRules {
			if o.DestinationRules[i].Host == r.Host {
				rules = append(rules, &o.DestinationRules[i])
			}
		}
	}
	_, problems := link.MergeRules(rules)
	for _, p := range problems {
		if p.Origin == r.From {
			c.found = append(c.found, p)
		}
	}
	if strings.HasPrefix(r.Host, "*") {
		return
	}
	h, ok := incr.Get(c.ctx, c.n.hosts, r.Host)
	if !ok || len(h.Services) == 0 {
		c.note(r.From, "spec.host", "UnknownHost", "there is no service %s; the rule has no effect until there is", r.Host)
	}
}

// book holds the current problems.
type book struct {
	objects map[objectKey][]problem.Problem // of objects by themselves
	refs    map[objectKey][]problem.Problem
	scopes  map[wantKey][]problem.Problem
	sorted  []problem.Problem
	stale   bool
}

func newBook() book {
	return book{objects: map[objectKey][]problem.Problem{}, refs: map[objectKey][]problem.Problem{}, scopes: map[wantKey][]problem.Problem{}}
}

func keep[K comparable](b *book, m map[K][]problem.Problem, k K, ps []problem.Problem) {
	if len(ps) == 0 && len(m[k]) == 0 || slices.Equal(m[k], ps) {
		return
	}
	b.stale = true
	if len(ps) == 0 {
		delete(m, k)
	} else {
		m[k] = ps
	}
}

func (g *Graph) collectProblems() {
	b := &g.problems
	for _, ch := range g.nodes.converted.Changes() {
		var ps []problem.Problem
		if ch.Has {
			ps = ch.New.Problems
		}
		keep(b, b.objects, ch.Key, ps)
	}
	for _, ch := range g.nodes.mistakes.Changes() {
		keep(b, b.refs, ch.Key, ch.New)
	}
}

// Problems returns everything that is wrong with the users' objects at the moment, sorted
// by object, each once. changed says that the last turn changed the list. The slice is
// shared and must not be modified.
func (g *Graph) Problems() (all []problem.Problem, changed bool) {
	b := &g.problems
	changed, b.stale = b.stale, false
	if !changed {
		return b.sorted, false
	}
	b.sorted = nil
	for _, ps := range b.objects {
		b.sorted = append(b.sorted, ps...)
	}
	for _, ps := range b.refs {
		b.sorted = append(b.sorted, ps...)
	}
	for _, ps := range b.scopes {
		b.sorted = append(b.sorted, ps...)
	}
	b.sorted = compact(b.sorted)
	return b.sorted, true
}

// compact sorts problems by what users read and drops repetitions.
func compact(ps []problem.Problem) []problem.Problem {
	slices.SortFunc(ps, func(a, b problem.Problem) int {
		return cmp.Or(strings.Compare(a.Origin.String(), b.Origin.String()), strings.Compare(a.Path, b.Path),
			strings.Compare(a.Reason, b.Reason), strings.Compare(a.Message, b.Message))
	})
	return slices.Compact(ps)
}
