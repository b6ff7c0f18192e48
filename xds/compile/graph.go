package compile

import (
	"reflect"
	"slices"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/api"
	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy"
	"github.com/sluicemesh/sluice/xds/incr"
	"github.com/sluicemesh/sluice/xds/ir"
	"github.com/sluicemesh/sluice/xds/link"
	"github.com/sluicemesh/sluice/xds/view"
)

// Config is what a Graph is made with.
type Config struct {
	Mesh ir.Mesh
	// OnPanic is told of each transform that panicked; its last good output stays. It is
	// called during Turn. Nil ignores panics.
	OnPanic func(incr.Panic)
}

// Edit is a new state of one object.
type Edit struct {
	Kind            string // as in api.All
	Namespace, Name string
	Object          api.Object // nil: deleted
}

// Graph is the whole of the mesh, brought up to date turn by turn.
type Graph struct {
	graph    *incr.Graph
	kinds    map[string]api.Kind
	mesh     *incr.Input[unit, ir.Mesh]
	objects  *incr.Input[objectKey, api.Object]
	classes  *incr.Input[ownerID, *member]
	nodes    nodes
	owners   ownerID
	members  map[class.Class]*member
	scopes   map[view.Scope]ownerID
	order    []*member // connected, in order of connection
	bundles  map[ownerID]*bundle
	revision uint64
	problems book
}

// unit is the key of collections that hold one value.
type unit struct{}

// ownerID identifies a scope or a class within a Graph.
type ownerID uint32

// member is a connected class.
type member struct {
	id    ownerID
	class class.Class
	scope ownerID
	sent  bool // its first update is out
}

// scope is what the classes of a namespace share.
type scope struct {
	id ownerID
	view.Scope
}

// nodes are the collections that transforms read.
type nodes struct {
	mesh      *incr.Collection[unit, ir.Mesh]
	converted *incr.Collection[objectKey, *object]
	index     indexes
	hosts     *incr.Collection[string, *link.Host]
	endpoints *incr.Collection[ir.EndpointsKey, *ir.Endpoints]
	peers     *incr.Collection[ir.EndpointsKey, link.Peers]
	classesOf *incr.Collection[ownerID, []*member]
	layers    []layer
	mistakes  *incr.Collection[objectKey, []problem.Problem]
}

// New returns a graph without objects and classes.
func New(c Config) *Graph {
	g := &Graph{
		graph: incr.New(c.OnPanic), kinds: map[string]api.Kind{}, members: map[class.Class]*member{},
		scopes: map[view.Scope]ownerID{}, bundles: map[ownerID]*bundle{}, problems: newBook(),
	}
	for _, k := range api.All() {
		g.kinds[k.GVK.Kind] = k
	}
	g.mesh = incr.NewInput[unit](g.graph, "mesh", func(a, b ir.Mesh) bool { return a == b })
	g.objects = incr.NewInput[objectKey](g.graph, "objects", func(a, b api.Object) bool { return a == b })
	g.classes = incr.NewInput[ownerID](g.graph, "classes", func(a, b *member) bool { return a == b })
	g.build()
	g.SetMesh(c.Mesh)
	return g
}

// build makes the nodes, in the order in which they run.
func (g *Graph) build() {
	n := &g.nodes
	n.mesh = g.mesh.Collection
	n.converted = incr.FlatMap(g.graph, "convert", g.objects.Collection, equalObject, g.convert)
	n.converted.Record()
	n.index = newIndexes(g.graph, n.converted)
	n.hosts = newHosts(g.graph, n.index)
	n.newEndpoints(g.graph)
	n.classesOf = incr.Index(g.graph, "classes of a scope", g.classes.Collection,
		func(_ ownerID, m *member) []ownerID { return []ownerID{m.scope} },
		func(a, b *member) int { return int(a.id) - int(b.id) })
	scopes := incr.FlatMap(g.graph, "scopes", n.classesOf, func(a, b scope) bool { return a == b },
		func(_ *incr.Ctx, id ownerID, ms []*member) []incr.Entry[ownerID, scope] {
			return []incr.Entry[ownerID, scope]{{Key: id, Value: scope{id, view.ScopeOf(ms[0].class)}}}
		})
	pairs := incr.Product(g.graph, "pairs", scopes, n.hosts)
	n.addLayer(g.graph, incr.FlatMap(g.graph, "outbound", pairs, equalWant, n.outbound))
	n.addListeners(g.graph, pairs)
	n.addLayer(g.graph, incr.FlatMap(g.graph, "fixed", scopes, equalWant, n.fixed))
	n.addLayer(g.graph, incr.FlatMap(g.graph, "inbound", g.classes.Collection, equalWant, n.inbound))
	n.addGateways(g.graph, g.classes.Collection)
	n.mistakes = newMistakes(g.graph, n)
	n.mistakes.Record()
}

// Apply edits objects; the next Turn sees them. An edit of a kind that api.All does not
// list is a programming error and panics.
func (g *Graph) Apply(edits []Edit) {
	for _, e := range edits {
		if _, known := g.kinds[e.Kind]; !known {
			panic("compile: unknown kind " + e.Kind)
		}
		k := objectKey{e.Kind, e.Namespace, e.Name}
		if e.Object == nil {
			g.objects.Delete(k)
		} else {
			g.objects.Set(k, e.Object)
		}
	}
}

// SetMesh replaces the mesh settings from the next Turn on.
func (g *Graph) SetMesh(m ir.Mesh) { g.mesh.Set(unit{}, m) }

// Connect makes the graph work for a class; the next Turn returns everything it has. A
// class that is connected stays as it is.
func (g *Graph) Connect(c class.Class) {
	if g.members[c] != nil {
		return
	}
	s := view.ScopeOf(c)
	if _, known := g.scopes[s]; !known {
		g.scopes[s] = g.newOwner()
	}
	m := &member{id: g.newOwner(), class: c, scope: g.scopes[s]}
	g.members[c] = m
	g.order = append(g.order, m)
	g.classes.Set(m.id, m)
}

// Disconnect ends the work for a class.
func (g *Graph) Disconnect(c class.Class) {
	m := g.members[c]
	if m == nil {
		return
	}
	delete(g.members, c)
	g.order = slices.DeleteFunc(g.order, func(o *member) bool { return o == m })
	g.classes.Delete(m.id)
}

func (g *Graph) newOwner() ownerID { g.owners++; return g.owners }

// Turn takes in all edits since the last turn and returns an update for each class that
// something changed for, in the order of their connection. The first of a class is whole.
// Resources and updates are shared and must not be modified.
func (g *Graph) Turn() []envoy.Update {
	g.graph.Turn()
	g.revision++
	g.collect()
	g.collectProblems()
	return g.updates()
}

// Revision is the number of turns so far.
func (g *Graph) Revision() uint64 { return g.revision }

// Explain names the objects that a resource of a class was made from, nil if the class has
// no such resource.
func (g *Graph) Explain(c class.Class, typeURL, name string) []problem.Origin {
	m := g.members[c]
	if m == nil {
		return nil
	}
	for _, id := range []ownerID{m.id, m.scope} {
		if b := g.bundles[id]; b != nil {
			if r := b.resources[envoy.Name{TypeURL: typeURL, Name: name}]; r != nil {
				return r.From
			}
		}
	}
	return nil
}

// objectKey identifies an object.
type objectKey struct{ Kind, Namespace, Name string }

// object is an object after conversion.
type object struct {
	key  objectKey
	from problem.Origin
	api.Fragment
}

func (g *Graph) convert(ctx *incr.Ctx, k objectKey, o api.Object) []incr.Entry[objectKey, *object] {
	mesh, _ := incr.Get(ctx, g.nodes.mesh, unit{})
	out := &object{key: k, Fragment: g.kinds[k.Kind].Convert(o, mesh)}
	out.from = problem.Origin{Kind: k.Kind, Namespace: k.Namespace, Name: k.Name, Created: o.GetCreationTimestamp().Time}
	return []incr.Entry[objectKey, *object]{{Key: k, Value: out}}
}

func equalObject(a, b *object) bool { return reflect.DeepEqual(a, b) }

func compareObjects(a, b *object) int { return a.from.Compare(b.from) }
