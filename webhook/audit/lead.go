package audit

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// The lease is slow on purpose: a minute without an auditor harms nobody, and a renewal is
// a write. Giving it back takes no longer than renewUntil, which is less than the process
// has to stop.
const (
	leaseFor   = time.Minute
	renewUntil = 20 * time.Second
	renewEvery = 10 * time.Second
)

// Election makes one replica of a revision audit.
type Election struct {
	// Leases is where the lease lies, in Namespace under Name.
	Leases          coordinationv1.LeasesGetter
	Namespace, Name string
	// Identity is this replica's, unique among them.
	Identity string
	Log      *slog.Logger
}

// Lead implements Config.Lead. Neither an API server that cannot be reached nor an audit
// that fails ends it: proxies and pods need the process that it runs in.
func (e Election) Lead(ctx context.Context, audit func(context.Context) error) error {
	ctx = klog.NewContext(ctx, logr.FromSlogHandler(e.Log.Handler()))
	for ctx.Err() == nil {
		if err := e.once(ctx, audit); err != nil {
			e.Log.Error("audit of pods failed, trying again", "error", err, "after", leaseFor)
			wait(ctx, leaseFor)
		}
	}
	return nil
}

// once waits for the lease, audits while it is held, and waits for the audit to end.
func (e Election) once(ctx context.Context, audit func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	lock := &lease{LeaseLock: resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: e.Namespace, Name: e.Name},
		Client:     e.Leases,
		LockConfig: resourcelock.ResourceLockConfig{Identity: e.Identity},
	}}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          lock,
		LeaseDuration: leaseFor, RenewDeadline: renewUntil, RetryPeriod: renewEvery,
		ReleaseOnCancel: true, Name: e.Name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) {
				done <- audit(ctx)
				cancel() // an audit that failed gives the lease back
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("elect the auditor: %w", err)
	}
	elector.Run(ctx)
	if !lock.held {
		return nil
	}
	return <-done
}

// lease is a lock that knows whether it was ever held. The elector starts what it guards
// and does not tell whether it did.
type lease struct {
	resourcelock.LeaseLock
	held bool
}

// RecordEvent is called when the lease was got and when it was lost, and then only.
func (l *lease) RecordEvent(string) { l.held = true }
