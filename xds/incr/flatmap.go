package incr

import (
	"cmp"
	"slices"
)

// Ctx lets a transform read other collections; what it reads becomes what it depends on.
type Ctx struct {
	reader task
	node   string
	order  int
	deps   []dependency
}

// Get reads one key of c, also one that has no value yet. c must have been created
// before the node that reads it; Get panics otherwise.
func Get[K comparable, V any](ctx *Ctx, c *Collection[K, V], k K) (V, bool) {
	if c.order >= ctx.order {
		panic("incr: node " + ctx.node + " reads " + c.name + ", which runs after it")
	}
	at := c.cell(k)
	if at.readers.add(ctx.reader) {
		ctx.deps = append(ctx.deps, at)
	}
	return at.value, at.has
}

// Lookup reads one group of an index, nil when it is empty. The slice belongs to the index.
func Lookup[G comparable, V any](ctx *Ctx, x *Collection[G, []V], group G) []V {
	vs, _ := Get(ctx, x, group)
	return vs
}

// flatMap is the node behind FlatMap.
type flatMap[K comparable, V any, L comparable, W any] struct {
	*Collection[L, W]
	graph *Graph
	in    *Collection[K, V]
	fn    func(*Ctx, K, V) []Entry[L, W]
	rows  map[K]*row[K, V, L, W]
	dirty []*row[K, V, L, W]
}

// row is the work for one input key.
type row[K comparable, V any, L comparable, W any] struct {
	node    *flatMap[K, V, L, W]
	key     K
	number  uint64
	marked  bool
	outputs []L
	deps    []dependency

	fresh []Entry[L, W] // outputs of this turn, before they are stored
	stale []L           // outputs of the turn before
}

func (r *row[K, V, L, W]) mark() {
	if !r.marked {
		r.marked = true
		r.node.dirty = append(r.node.dirty, r)
	}
}

// FlatMap adds a collection that holds what fn emits for each value of in. equal says when
// an output is as it was. Two inputs that emit one key are a programming error: Turn
// panics. When fn itself panics, the outputs of that key stay as they were.
func FlatMap[K comparable, V any, L comparable, W any](g *Graph, name string, in *Collection[K, V], equal func(a, b W) bool, fn func(*Ctx, K, V) []Entry[L, W]) *Collection[L, W] {
	n := &flatMap[K, V, L, W]{Collection: newCollection[L](name, equal), graph: g, in: in, fn: fn, rows: map[K]*row[K, V, L, W]{}}
	in.subs = append(in.subs, n.changed)
	n.order = g.add(n)
	return n.Collection
}

func (n *flatMap[K, V, L, W]) changed(ch *Change[K, V]) {
	r := n.rows[ch.Key]
	if r == nil {
		r = &row[K, V, L, W]{node: n, key: ch.Key, number: n.graph.nextRow()}
		n.rows[ch.Key] = r
	}
	r.mark()
}

// run computes all marked rows first and stores afterwards, so that a key may move from
// one row to another within a turn.
func (n *flatMap[K, V, L, W]) run() {
	rows := n.dirty
	n.dirty = nil
	slices.SortFunc(rows, func(a, b *row[K, V, L, W]) int { return cmp.Compare(a.number, b.number) })
	for _, r := range rows {
		n.compute(r)
	}
	for _, r := range rows {
		for _, l := range r.stale {
			n.cells[l].owner = nil
		}
	}
	for _, r := range rows {
		n.store(r)
	}
	for _, r := range rows {
		for _, l := range r.stale {
			if at := n.cells[l]; at != nil && at.owner == nil {
				n.remove(at)
			}
		}
		r.stale = nil
	}
}

// compute runs the transform of one row, or ends the row when its input is gone.
func (n *flatMap[K, V, L, W]) compute(r *row[K, V, L, W]) {
	r.marked = false
	before := r.deps
	v, has := n.in.Get(r.key)
	if !has {
		r.deps, r.stale, r.outputs = nil, r.outputs, nil
		delete(n.rows, r.key)
		dropAll(before, r)
		return
	}
	// What was read up to a panic is enough to depend on: the transform is pure.
	dropAll(before, r)
	ctx := &Ctx{reader: r, node: n.name, order: n.order, deps: before[:0]}
	ok := n.graph.guard(n.name, r.key, func() { r.fresh = n.fn(ctx, r.key, v) })
	r.deps = ctx.deps
	if !ok {
		r.fresh = nil
		return
	}
	r.stale, r.outputs = r.outputs, make([]L, len(r.fresh))
	for i, e := range r.fresh {
		r.outputs[i] = e.Key
	}
}

func (n *flatMap[K, V, L, W]) store(r *row[K, V, L, W]) {
	for _, e := range r.fresh {
		at := n.cell(e.Key)
		if at.owner != nil {
			twice(n.name, e.Key)
		}
		at.owner = r
		n.set(at, e.Value)
	}
	r.fresh = nil
}

func dropAll(deps []dependency, t task) {
	for _, d := range deps {
		d.drop(t)
	}
}
