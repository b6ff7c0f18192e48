package audit

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/kubernetes/fake"
)

// replica runs an election in the bubble and tells when it audits.
type replica struct {
	stop    context.CancelFunc
	done    chan error
	started chan struct{}
	fail    chan error
}

func stand(t *testing.T, e Election, identity string) *replica {
	t.Helper()
	e.Identity = identity
	ctx, cancel := context.WithCancel(t.Context())
	r := &replica{stop: cancel, done: make(chan error, 1), started: make(chan struct{}, 10), fail: make(chan error)}
	go func() {
		r.done <- e.Lead(ctx, func(ctx context.Context) error {
			r.started <- struct{}{}
			select {
			case <-ctx.Done():
				return nil
			case err := <-r.fail:
				return err
			}
		})
	}()
	synctest.Wait()
	return r
}

func TestOneReplicaAudits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := Election{
			Leases: fake.NewClientset().CoordinationV1(), Namespace: "istio-system", Name: "sluice-auditor", Log: slog.New(slog.DiscardHandler),
		}
		first := stand(t, e, "a")
		second := stand(t, e, "b")
		wantStarts(t, 5*time.Minute, first, 1, second, 0)

		first.stop()
		if err := <-first.done; err != nil {
			t.Error(err)
		}
		wantStarts(t, leaseFor, first, 1, second, 1)

		// A failed audit neither ends the process nor keeps others from trying.
		second.fail <- errors.New("no cache")
		wantStarts(t, 3*leaseFor, first, 1, second, 2)
		second.stop()
		if err := <-second.done; err != nil {
			t.Error(err)
		}
	})
}

// wantStarts compares how often each replica has begun to audit after a while.
func wantStarts(t *testing.T, after time.Duration, a *replica, starts int, b *replica, startsOfB int) {
	t.Helper()
	time.Sleep(after) //nolint:forbidigo // the bubble's clock
	synctest.Wait()
	if len(a.started) != starts || len(b.started) != startsOfB {
		t.Errorf("after %s audits began %d and %d times; want %d and %d", after, len(a.started), len(b.started), starts, startsOfB)
	}
}
