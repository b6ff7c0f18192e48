package incr

// Input is a collection that the caller edits.
type Input[K comparable, V any] struct {
	*Collection[K, V]
	staged map[K]int // position in edits
	edits  []edit[K, V]
}

type edit[K comparable, V any] struct {
	key   K
	value V
	has   bool
}

// NewInput adds an input to g. equal says when an edit changes nothing; the name is for
// messages.
func NewInput[K comparable, V any](g *Graph, name string, equal func(a, b V) bool) *Input[K, V] {
	in := &Input[K, V]{Collection: newCollection[K](name, equal)}
	in.order = g.add(in)
	return in
}

// Set gives k the value v from the next turn on. Of several edits of a key in one turn the
// last counts.
func (in *Input[K, V]) Set(k K, v V) { in.stage(edit[K, V]{k, v, true}) }

// Delete takes k away from the next turn on.
func (in *Input[K, V]) Delete(k K) { in.stage(edit[K, V]{key: k}) }

func (in *Input[K, V]) stage(e edit[K, V]) {
	if i, ok := in.staged[e.key]; ok {
		in.edits[i] = e
		return
	}
	if in.staged == nil {
		in.staged = map[K]int{}
	}
	in.staged[e.key] = len(in.edits)
	in.edits = append(in.edits, e)
}

func (in *Input[K, V]) run() {
	for _, e := range in.edits {
		at := in.cell(e.key)
		if e.has {
			in.set(at, e.value)
		} else {
			in.remove(at)
			at.tidy()
		}
	}
	in.edits, in.staged = nil, nil
}
