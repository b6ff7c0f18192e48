package backoff

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestNextDoublesWithJitterUpToTheBound(t *testing.T) {
	b := &Backoff{Min: 100 * time.Millisecond, Max: 15 * time.Second}
	for _, step := range []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 12800, 15000, 15000} {
		step *= time.Millisecond
		if got := b.Next(); got < step/2 || got > step {
			t.Errorf("Next = %v, want between %v and %v", got, step/2, step)
		}
	}
	b.Reset()
	if got := b.Next(); got > 100*time.Millisecond {
		t.Errorf("after Reset: %v", got)
	}
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &Backoff{Min: time.Hour, Max: time.Hour}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if b.Sleep(ctx) || time.Since(start) != time.Minute {
			t.Errorf("Sleep lasted %v", time.Since(start))
		}
		if !b.Sleep(t.Context()) {
			t.Error("Sleep did not last")
		}
	})
}
