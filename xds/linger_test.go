package xds

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestLingering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		late := lingering(ctx, 5*time.Second)
		cancel()
		start := time.Now()
		synctest.Wait()
		if late.Err() != nil {
			t.Error("ended with its parent")
		}
		<-late.Done()
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("lingered for %s; want 5s", took)
		}
	})
}
