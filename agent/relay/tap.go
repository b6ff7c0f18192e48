package relay

import (
	"github.com/sluicemesh/sluice/agent/relay/store"
)

// Tap takes the resources of one type that are for the agent itself and not for Envoy.
type Tap struct {
	Type string
	// Apply takes what one response changed: resources that are new or different, and the
	// names of those that are gone. An error rejects all of it and must leave everything as
	// it was. Apply does not keep the bodies. It is called by one goroutine at a time.
	Apply func(set []*store.Resource, removed []string) error
}

// tapped is a Tap with what is held. Its owner serialises the calls.
type tapped struct {
	Tap
	held   map[string]string // name → version
	outbox []store.Request
}

// connect begins a new upstream stream and returns its first request: all of the type, less
// what is held.
func (t *tapped) connect() store.Request {
	t.outbox = nil
	held := make(map[string]string, len(t.held))
	for name, version := range t.held {
		held[name] = version
	}
	return store.Request{Type: t.Type, Subscribe: []string{"*"}, Initial: held}
}

// apply takes one response and answers it.
func (t *tapped) apply(p store.Push) {
	answer := store.Request{Type: p.Type, Nonce: p.Nonce}
	if err := t.Apply(p.Resources, p.Removed); err != nil {
		answer.Error = err.Error()
		t.outbox = append(t.outbox, answer)
		return
	}
	for _, name := range p.Removed {
		delete(t.held, name)
	}
	for _, r := range p.Resources {
		t.held[r.Name] = r.Version
	}
	t.outbox = append(t.outbox, answer)
}
