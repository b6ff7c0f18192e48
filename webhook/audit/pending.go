package audit

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// mostPods bounds what is gathered pod by pod; beyond it, everything is looked at again.
const mostPods = 10_000

// batch is what has changed since the last look.
type batch struct {
	everything bool
	namespaces map[string]bool
	pods       map[types.NamespacedName]*corev1.Pod // nil for one that is gone
}

func newBatch() batch {
	return batch{namespaces: map[string]bool{}, pods: map[types.NamespacedName]*corev1.Pod{}}
}

// pending gathers changes from the informers for the auditor's loop. Its methods never
// block.
type pending struct {
	mu    sync.Mutex
	batch batch
	ready chan struct{} // holds a value when there is something to take
}

func newPending() *pending { return &pending{batch: newBatch(), ready: make(chan struct{}, 1)} }

// pod notes a pod that changed, or with gone true, one that is no more.
func (p *pending) pod(pod *corev1.Pod, gone bool) {
	name := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
	if gone {
		pod = nil
	}
	p.add(func(b *batch) {
		if b.everything {
			return // the cache is read as a whole
		}
		b.pods[name] = pod
		if len(b.pods) > mostPods {
			*b = newBatch()
			b.everything = true
		}
	})
}

// namespace notes that the labels of a namespace changed.
func (p *pending) namespace(name string) { p.add(func(b *batch) { b.namespaces[name] = true }) }

// everything notes that webhooks or settings changed.
func (p *pending) everything() {
	p.add(func(b *batch) {
		*b = newBatch()
		b.everything = true
	})
}

func (p *pending) add(change func(*batch)) {
	p.mu.Lock()
	change(&p.batch)
	p.mu.Unlock()
	select {
	case p.ready <- struct{}{}:
	default: // the loop is about to look anyway
	}
}

// take returns what has gathered and starts anew.
func (p *pending) take() batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.batch
	p.batch = newBatch()
	return out
}
