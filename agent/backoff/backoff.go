// Package backoff spaces attempts at something that fails: each wait is about twice the
// one before, with jitter, up to a bound. It starts no goroutine.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff is the state of one series of attempts. One goroutine uses it.
type Backoff struct {
	Min, Max time.Duration
	next     time.Duration
}

// Next returns the coming wait, between half and the whole of a step that starts at Min
// and doubles up to Max.
func (b *Backoff) Next() time.Duration {
	if b.next == 0 {
		b.next = b.Min
	}
	step := b.next
	b.next = min(2*b.next, b.Max)
	return step/2 + time.Duration(rand.Int64N(int64(step/2)+1))
}

// Reset begins a new series after a success.
func (b *Backoff) Reset() { b.next = 0 }

// Sleep waits for Next. It returns false at once when ctx is done.
func (b *Backoff) Sleep(ctx context.Context) bool {
	t := time.NewTimer(b.Next())
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
