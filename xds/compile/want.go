package compile

import (
	"cmp"
	"slices"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/envoy"
	"github.com/sluicemesh/sluice/xds/incr"
)

// wantKey is the place of a resource, or of something else that a scope or class has.
type wantKey struct {
	owner ownerID
	kind  kind
	name  string
}

// kind is the type of a resource, or something that is no resource.
type kind uint8

const (
	clusters kind = iota
	assignments
	listeners
	tables
	virtualHosts
	hostNames
	mistakesOf // problems of objects that are seen only when they meet others
)

// typeURLs are the types of the kinds that are resources.
func (k kind) typeURL() string {
	return [...]string{envoy.ClusterType, envoy.EndpointType, envoy.ListenerType, envoy.RouteType, envoy.VirtualHostType, envoy.NameTableType}[k]
}

// want says how the resource at its place is made.
type want struct {
	at     wantKey
	recipe recipe
	// problems come instead of a recipe.
	problems []problem.Problem
}

// recipe makes a resource. It is comparable and holds, by value or by pointer to values
// that are never modified, everything that make depends on besides what it reads from n
// through ctx. make returns nil for a resource that does not exist after all.
type recipe interface {
	make(ctx *incr.Ctx, n *nodes) *envoy.Resource
}

type wantEntry = incr.Entry[wantKey, want]

func equalWant(a, b want) bool { return a.recipe == b.recipe && slices.Equal(a.problems, b.problems) }

// wants collects the output of one transform.
type wants struct {
	owner ownerID
	list  []wantEntry
}

func (w *wants) add(k kind, name string, r recipe) { w.addTo(w.owner, k, name, r) }

func (w *wants) addTo(owner ownerID, k kind, name string, r recipe) {
	at := wantKey{owner, k, name}
	w.list = append(w.list, wantEntry{Key: at, Value: want{at: at, recipe: r}})
}

// blame notes problems under a name that is unique for the owner.
func (w *wants) blame(name string, problems []problem.Problem) {
	if len(problems) > 0 {
		at := wantKey{w.owner, mistakesOf, name}
		w.list = append(w.list, wantEntry{Key: at, Value: want{at: at, problems: problems}})
	}
}

// layer is a collection of wants with the resources they share.
type layer struct {
	wants  *incr.Collection[wantKey, want]
	groups *incr.Collection[recipe, []want]
	built  *incr.Collection[recipe, *envoy.Resource]
}

// addLayer adds the nodes that build each distinct recipe once.
func (n *nodes) addLayer(g *incr.Graph, in *incr.Collection[wantKey, want]) {
	l := layer{wants: in}
	l.groups = incr.Index(g, "distinct", in, func(_ wantKey, w want) []recipe {
		if w.recipe == nil {
			return nil
		}
		return []recipe{w.recipe}
	}, compareWants)
	l.built = incr.FlatMap(g, "build", l.groups, equalResource, func(ctx *incr.Ctx, r recipe, _ []want) []incr.Entry[recipe, *envoy.Resource] {
		res := r.make(ctx, n)
		if res == nil {
			return nil
		}
		return []incr.Entry[recipe, *envoy.Resource]{{Key: r, Value: res}}
	})
	l.wants.Record()
	l.built.Record()
	n.layers = append(n.layers, l)
}

func compareWants(a, b want) int {
	return cmp.Or(cmp.Compare(a.at.owner, b.at.owner), cmp.Compare(a.at.kind, b.at.kind), cmp.Compare(a.at.name, b.at.name))
}

// equalResource compares the origins too: explanations must follow them.
func equalResource(a, b *envoy.Resource) bool {
	return envoy.Equal(a, b) && slices.Equal(a.From, b.From)
}

// list is a comparable list: nil, or a link.
type list any

// cons is one link of a list.
type cons struct {
	head any // comparable
	tail list
}

// listOf makes a list; two lists of equal elements are equal.
func listOf[T comparable](items []T) list {
	var out list
	for _, v := range slices.Backward(items) {
		out = cons{v, out}
	}
	return out
}

// items undoes listOf.
func items[T comparable](l list) []T {
	var out []T
	for l != nil {
		c := l.(cons)
		out = append(out, c.head.(T))
		l = c.tail
	}
	return out
}
