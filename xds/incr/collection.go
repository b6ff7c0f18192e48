package incr

// Collection holds values by key. Values are never modified after they were emitted.
type Collection[K comparable, V any] struct {
	name  string
	order int // place of the node in the graph
	equal func(a, b V) bool
	cells map[K]*cell[K, V]
	size  int
	subs  []func(*Change[K, V])

	recording bool
	log       []Change[K, V]
}

// Change is what happened to one key in one turn.
type Change[K comparable, V any] struct {
	Key K
	// Old and New are the values before and after; Had and Has say whether there were any.
	Old, New V
	Had, Has bool
}

// Entry is a value with its key.
type Entry[K comparable, V any] struct {
	Key   K
	Value V
}

// cell is the place of one key. It outlives its value as long as somebody asked for it.
type cell[K comparable, V any] struct {
	in      *Collection[K, V]
	key     K
	value   V
	has     bool
	owner   task
	readers readerSet
}

func newCollection[K comparable, V any](name string, equal func(a, b V) bool) *Collection[K, V] {
	return &Collection[K, V]{name: name, equal: equal, cells: map[K]*cell[K, V]{}}
}

// Get returns the value of a key outside of transforms.
func (c *Collection[K, V]) Get(k K) (v V, ok bool) {
	if at := c.cells[k]; at != nil {
		return at.value, at.has
	}
	return v, false
}

// Len is the number of values.
func (c *Collection[K, V]) Len() int { return c.size }

// Each calls fn for every value, in no particular order.
func (c *Collection[K, V]) Each(fn func(K, V)) {
	for k, at := range c.cells {
		if at.has {
			fn(k, at.value)
		}
	}
}

// Record makes the collection keep the changes of each turn for Changes.
func (c *Collection[K, V]) Record() { c.recording = true }

// Changes returns what the last turn changed, each key once, and forgets it. The order
// depends only on the edits. The collection must be recording.
func (c *Collection[K, V]) Changes() []Change[K, V] {
	out := c.log
	c.log = nil
	return out
}

// cell returns the place of k, made if need be.
func (c *Collection[K, V]) cell(k K) *cell[K, V] {
	at := c.cells[k]
	if at == nil {
		at = &cell[K, V]{in: c, key: k}
		c.cells[k] = at
	}
	return at
}

// set stores v and tells who depends on it, unless it is equal to what was there.
func (c *Collection[K, V]) set(at *cell[K, V], v V) {
	if at.has && c.equal(at.value, v) {
		return
	}
	ch := Change[K, V]{Key: at.key, Old: at.value, Had: at.has, New: v, Has: true}
	if !at.has {
		c.size++
	}
	at.value, at.has = v, true
	c.tell(at, &ch)
}

// remove takes the value away and tells who depends on it.
func (c *Collection[K, V]) remove(at *cell[K, V]) {
	at.owner = nil
	if !at.has {
		return
	}
	ch := Change[K, V]{Key: at.key, Old: at.value, Had: true}
	at.value, at.has = ch.New, false
	c.size--
	c.tell(at, &ch)
	at.tidy()
}

func (c *Collection[K, V]) tell(at *cell[K, V], ch *Change[K, V]) {
	if c.recording {
		c.log = append(c.log, *ch)
	}
	for _, sub := range c.subs {
		sub(ch)
	}
	at.readers.each(task.mark)
}

// tidy forgets a cell without value that nobody reads.
func (at *cell[K, V]) tidy() {
	if !at.has && at.readers.empty() {
		delete(at.in.cells, at.key)
	}
}

// drop ends the interest of t.
func (at *cell[K, V]) drop(t task) {
	at.readers.remove(t)
	at.tidy()
}

// task is a row that can be marked to run again.
type task interface{ mark() }

// dependency is a cell that a row has read.
type dependency interface{ drop(task) }

// readerSet is a set of tasks: a slice while it is small, as most are.
type readerSet struct {
	few  []task
	many map[task]struct{}
}

const fewReaders = 12

func (s *readerSet) empty() bool { return len(s.few) == 0 && len(s.many) == 0 }

// add reports whether t is new in the set.
func (s *readerSet) add(t task) bool {
	if s.many != nil {
		n := len(s.many)
		s.many[t] = struct{}{}
		return len(s.many) > n
	}
	for _, f := range s.few {
		if f == t {
			return false
		}
	}
	if len(s.few) < fewReaders {
		s.few = append(s.few, t)
		return true
	}
	s.many = make(map[task]struct{}, 2*fewReaders)
	for _, f := range s.few {
		s.many[f] = struct{}{}
	}
	s.few = nil
	s.many[t] = struct{}{}
	return true
}

func (s *readerSet) remove(t task) {
	if s.many != nil {
		delete(s.many, t)
		return
	}
	for i, f := range s.few {
		if f == t {
			last := len(s.few) - 1
			s.few[i], s.few[last] = s.few[last], nil
			s.few = s.few[:last]
			return
		}
	}
}

func (s *readerSet) each(fn func(task)) {
	for _, t := range s.few {
		fn(t)
	}
	for t := range s.many {
		fn(t)
	}
}
