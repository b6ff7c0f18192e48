package incr

import (
	"fmt"
	"runtime/debug"
)

// Graph is a set of nodes in order of creation.
type Graph struct {
	nodes   []node
	onPanic func(Panic)
	rows    uint64
	ran     int
}

// node is one step of a turn.
type node interface{ run() }

// Panic describes a transform that panicked. The last good output of its key stays.
type Panic struct {
	Node  string // name given to FlatMap
	Key   any
	Value any // what was passed to panic
	Stack []byte
}

// New returns an empty graph. onPanic is called, during Turn, for each transform that
// panicked; nil ignores panics.
func New(onPanic func(Panic)) *Graph {
	if onPanic == nil {
		onPanic = func(Panic) {}
	}
	return &Graph{onPanic: onPanic}
}

// Turn takes in all edits since the last turn and brings every collection up to date. It
// returns the number of transforms that ran.
func (g *Graph) Turn() int {
	g.ran = 0
	for _, n := range g.nodes {
		n.run()
	}
	return g.ran
}

// add appends n and returns its place in the order.
func (g *Graph) add(n node) int {
	g.nodes = append(g.nodes, n)
	return len(g.nodes) - 1
}

// nextRow numbers rows, so that marked rows run in an order that does not depend on maps.
func (g *Graph) nextRow() uint64 { g.rows++; return g.rows }

// guard runs fn and reports its panic. ok is false when fn panicked.
func (g *Graph) guard(name string, key any, fn func()) (ok bool) {
	g.ran++
	defer func() {
		if p := recover(); p != nil {
			g.onPanic(Panic{Node: name, Key: key, Value: p, Stack: debug.Stack()})
		}
	}()
	fn()
	return true
}

// twice reports the programming error of two inputs that emit one key.
func twice(name string, key any) {
	panic(fmt.Sprintf("incr: node %s: key %v comes from two inputs", name, key))
}
