package source

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Queue gathers edits and calls between turns. Put and Do never block; one loop takes.
// The zero value is not usable, NewQueue makes one.
type Queue struct {
	mu    sync.Mutex
	edits map[key]Edit
	order []key
	calls []func()
	ready chan struct{}
}

// key identifies an object; two kinds never share a Go type.
type key struct {
	kind string
	name types.NamespacedName
}

// NewQueue returns an empty queue.
func NewQueue() *Queue {
	return &Queue{edits: map[key]Edit{}, ready: make(chan struct{}, 1)}
}

// Put adds an edit. An earlier edit of the same object that was not yet taken is replaced.
func (q *Queue) Put(e Edit) {
	k := key{fmt.Sprintf("%T", e.Object), types.NamespacedName{Namespace: e.Object.GetNamespace(), Name: e.Object.GetName()}}
	q.mu.Lock()
	if _, waiting := q.edits[k]; !waiting {
		q.order = append(q.order, k)
	}
	q.edits[k] = e
	q.mu.Unlock()
	q.wake()
}

// Do adds a call that the loop makes before its next turn, in the order of the Do calls.
func (q *Queue) Do(call func()) {
	q.mu.Lock()
	q.calls = append(q.calls, call)
	q.mu.Unlock()
	q.wake()
}

// Ready receives a value when there may be something to take.
func (q *Queue) Ready() <-chan struct{} { return q.ready }

// Take returns what has gathered, edits in the order in which their objects were first
// put, and empties the queue. Both may be empty.
func (q *Queue) Take() (edits []Edit, calls []func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, k := range q.order {
		edits = append(edits, q.edits[k])
	}
	calls = q.calls
	clear(q.edits)
	q.order, q.calls = nil, nil
	return edits, calls
}

func (q *Queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default: // the loop is about to look anyway
	}
}
