package incr

import (
	"fmt"
	"slices"
)

// index is the node behind Index.
type index[K comparable, V any, G comparable] struct {
	*Collection[G, []V]
	groups  func(K, V) []G
	compare func(a, b V) int
	pending []Change[K, V]
}

// Index adds a collection of the groups of in: the key is a group, the value its members
// in the order of compare. groups returns the groups of a value, each once; it must be
// pure. compare is a total order: two members of one group that compare equal are a
// programming error, and Turn panics. A group without members has no value.
//
// An index is a collection like any other: a FlatMap over it runs once per group.
func Index[K comparable, V any, G comparable](g *Graph, name string, in *Collection[K, V], groups func(K, V) []G, compare func(a, b V) int) *Collection[G, []V] {
	// Members may be equal as values and yet come from different keys: the order tells.
	same := func(a, b V) bool { return compare(a, b) == 0 && in.equal(a, b) }
	equal := func(a, b []V) bool { return slices.EqualFunc(a, b, same) }
	x := &index[K, V, G]{Collection: newCollection[G](name, equal), groups: groups, compare: compare}
	in.subs = append(in.subs, func(ch *Change[K, V]) { x.pending = append(x.pending, *ch) })
	x.order = g.add(x)
	return x.Collection
}

// regroup is what happens to one group in a turn.
type regroup[V any] struct{ gone, come []V }

func (x *index[K, V, G]) run() {
	if len(x.pending) == 0 {
		return
	}
	work := map[G]*regroup[V]{}
	var order []G
	at := func(g G) *regroup[V] {
		w := work[g]
		if w == nil {
			w = &regroup[V]{}
			work[g] = w
			order = append(order, g)
		}
		return w
	}
	pending := x.pending
	x.pending = nil // a first turn is large: its memory must not stay
	for i := range pending {
		ch := &pending[i]
		if ch.Had {
			for _, g := range x.groups(ch.Key, ch.Old) {
				w := at(g)
				w.gone = append(w.gone, ch.Old)
			}
		}
		if ch.Has {
			for _, g := range x.groups(ch.Key, ch.New) {
				w := at(g)
				w.come = append(w.come, ch.New)
			}
		}
	}
	for _, g := range order {
		x.rebuild(g, work[g])
	}
}

// rebuild makes the new slice of one group: the old one is never modified, others hold it.
func (x *index[K, V, G]) rebuild(g G, w *regroup[V]) {
	at := x.cell(g)
	slices.SortFunc(w.gone, x.compare)
	slices.SortFunc(w.come, x.compare)
	for i := 1; i < len(w.come); i++ {
		x.less(g, w.come[i-1], w.come[i])
	}
	out := make([]V, 0, max(0, len(at.value)-len(w.gone)+len(w.come)))
	gone, come := w.gone, w.come
	for _, v := range at.value {
		if len(gone) > 0 && x.compare(gone[0], v) == 0 {
			gone = gone[1:]
			continue
		}
		for len(come) > 0 && x.less(g, come[0], v) {
			out, come = append(out, come[0]), come[1:]
		}
		out = append(out, v)
	}
	out = append(out, come...)
	if len(out) == 0 {
		x.remove(at)
		at.tidy()
		return
	}
	x.set(at, out)
}

// less compares two members and refuses equals.
func (x *index[K, V, G]) less(g G, a, b V) bool {
	c := x.compare(a, b)
	if c == 0 {
		panic(fmt.Sprintf("incr: index %s: two members of group %v compare equal", x.name, g))
	}
	return c < 0
}
