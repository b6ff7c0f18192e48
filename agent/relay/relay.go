// Package relay stands between the control plane and Envoy with a store: it takes delta
// ADS from the one and serves delta ADS to the other over a Unix socket.
//
// The two ends are independent: Envoy is served from the store while the control plane is
// away, and the control plane is listened to while Envoy restarts. No resource body is
// decoded. The streams are in upstream and downstream, all decisions in store. Types that the
// agent itself uses go to a Tap and never to Envoy.
package relay

import (
	"context"
	"log/slog"
	"net"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sluicemesh/sluice/agent/relay/downstream"
	"github.com/sluicemesh/sluice/agent/relay/store"
	"github.com/sluicemesh/sluice/agent/relay/upstream"
)

// Config is what a relay needs.
type Config struct {
	Upstream upstream.Config
	// Listener is the Unix socket that Envoy connects to; Run closes it.
	Listener net.Listener
	Counts   downstream.Counts
	// Taps take types for the agent itself, each type once.
	Taps []Tap
	Log  *slog.Logger
}

// Run relays until ctx is done. It stops both ends and returns nil then, or the first
// error of the listener; a lost control plane is retried for ever.
func Run(ctx context.Context, cfg Config) error {
	h := &hub{store: store.New(), up: make(chan struct{}, 1), down: make(chan struct{}, 1)}
	for _, tap := range cfg.Taps {
		h.taps = append(h.taps, &tapped{Tap: tap, held: map[string]string{}})
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return upstream.Run(ctx, cfg.Upstream, h) })
	g.Go(func() error {
		return downstream.Run(ctx, cfg.Listener, h, downstream.Options{Counts: cfg.Counts, Log: cfg.Log})
	})
	return g.Wait()
}

// hub serialises the calls of both ends into the store, and wakes the other end when
// there may be something for it.
type hub struct {
	mu       sync.Mutex
	store    *store.Store
	taps     []*tapped
	up, down chan struct{} // capacity 1: a pending wake-up is enough
}

// do runs fn on the store and wakes both ends.
func (h *hub) do(fn func(*store.Store)) {
	h.mu.Lock()
	fn(h.store)
	h.mu.Unlock()
	wake(h.up)
	wake(h.down)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Connect begins a stream to the control plane.
func (h *hub) Connect() (first []store.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first = h.store.Connect()
	for _, t := range h.taps {
		first = append(first, t.connect())
	}
	return first
}

// Apply takes a response of the control plane.
func (h *hub) Apply(p store.Push) {
	for _, t := range h.taps {
		if t.Type == p.Type {
			h.do(func(*store.Store) { t.apply(p) })
			return
		}
	}
	h.do(func(s *store.Store) { s.Apply(p) })
}

// Requests takes the messages for the control plane; more may be there after Wake.
func (h *hub) Requests() []store.Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.store.Requests()
	for _, t := range h.taps {
		out = append(out, t.outbox...)
		t.outbox = nil
	}
	return out
}

// Wake is the upstream end's wake-up.
func (h *hub) Wake() <-chan struct{} { return h.up }

// Disconnect ends Envoy's stream.
func (h *hub) Disconnect() { h.do((*store.Store).Disconnect) }

// Handle takes one message of Envoy: its answer to a response, then its new wishes.
func (h *hub) Handle(a downstream.Answer, sub store.Subscription) {
	h.do(func(s *store.Store) {
		switch {
		case a.Nonce != "" && a.Error != "":
			s.Nack(sub.Type, a.Nonce, a.Error)
		case a.Nonce != "":
			s.Ack(sub.Type, a.Nonce)
		}
		if a.Nonce == "" || len(sub.Subscribe)+len(sub.Unsubscribe) > 0 {
			s.Subscribe(sub)
		}
	})
}

// Next takes the next response for Envoy; more may be there after Ready.
func (h *hub) Next() *store.Response {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.store.Next()
}

// Relax stops waiting for answers of Envoy that are under way.
func (h *hub) Relax() { h.do((*store.Store).Relax) }

// Ready is the downstream end's wake-up.
func (h *hub) Ready() <-chan struct{} { return h.down }
