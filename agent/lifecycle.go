package agent

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicemesh/sluice/agent/config"
)

// countEvery is how often active connections are counted while the proxy waits for none,
// and maxFailures after how many failed counts it gives up waiting.
const (
	countEvery  = time.Second
	maxFailures = 5
)

// process is the proxy: envoy.Process, or absent.
type process interface {
	Wait() error
	Done() <-chan struct{}
	Stop(ctx context.Context)
}

// console is what the agent needs of Envoy's admin interface: envoy.Admin, or absent.
type console interface {
	admin
	Ready(ctx context.Context) error
	Close()
}

// admin is what stopping needs of it.
type admin interface {
	Drain(ctx context.Context, inboundOnly, skipExit bool) error
	ActiveConnections(ctx context.Context, except []string) (uint64, bool, error)
}

// lifecycle decides how and when the proxy stops. Its states are running, drained (asked
// by the pre-stop hook: a later stop is immediate) and stopping.
type lifecycle struct {
	cfg   config.Drain
	admin admin
	proc  process
	skip  []string // words in the names of listeners that are not users'
	log   *slog.Logger

	quit     chan struct{}
	quitOnce sync.Once
	drained  atomic.Bool
	stopping atomic.Bool
	asked    atomic.Bool
}

func newLifecycle(cfg config.Drain, a admin, proc process, log *slog.Logger) *lifecycle {
	return &lifecycle{cfg: cfg, admin: a, proc: proc, log: log, quit: make(chan struct{})}
}

// Quit stops the proxy at once.
func (l *lifecycle) Quit() { l.quitOnce.Do(func() { close(l.quit) }) }

// Drain makes the listeners drain while the proxy goes on for who still needs it.
func (l *lifecycle) Drain(ctx context.Context) error {
	l.log.Info("draining before the stop")
	if err := l.admin.Drain(ctx, l.cfg.InboundOnly, true); err != nil {
		return err
	}
	l.drained.Store(true)
	return nil
}

// Stopping reports that the proxy takes no new work.
func (l *lifecycle) Stopping() bool { return l.stopping.Load() }

// Asked reports that the proxy's end was asked for.
func (l *lifecycle) Asked() bool { return l.asked.Load() }

// run waits for the reason to stop and stops the proxy: ctx done drains first, Quit and a
// failed part (parts done) do not. It returns when the proxy is gone.
func (l *lifecycle) run(ctx, parts context.Context) {
	select {
	case <-l.proc.Done():
		return
	case <-parts.Done():
		// A part failed: its error is the result, the proxy only has to go.
		l.proc.Stop(context.WithoutCancel(parts))
		return
	case <-l.quit:
	case <-ctx.Done():
	}
	l.stopping.Store(true)
	l.asked.Store(true)
	drain, cancel := context.WithCancel(parts)
	defer cancel()
	if ctx.Err() != nil && !l.drained.Load() {
		l.drain(drain)
	}
	l.proc.Stop(context.WithoutCancel(parts))
}

// drain tells the listeners to drain and waits as configured, or until Quit or the end of
// the proxy.
func (l *lifecycle) drain(ctx context.Context) {
	l.log.Info("draining", "wait", l.cfg.Wait, "until_idle", l.cfg.ExitOnZero)
	if err := l.admin.Drain(ctx, l.cfg.InboundOnly, false); err != nil {
		l.log.Warn("listeners not drained, stopping all the same", "error", err)
	}
	if !l.cfg.ExitOnZero {
		l.pause(ctx, l.cfg.Wait)
		return
	}
	if !l.pause(ctx, l.cfg.Minimum) {
		return
	}
	for failures := 0; failures < maxFailures; {
		n, known, err := l.admin.ActiveConnections(ctx, l.skip)
		switch {
		case err != nil:
			failures++
			l.log.Warn("connections not counted", "error", err)
		case !known || n == 0:
			l.log.Info("no active connections left")
			return
		default:
			failures = 0
			l.log.Debug("connections still active", "count", n)
		}
		if !l.pause(ctx, countEvery) {
			return
		}
	}
}

// pause waits for d; false means that there is no reason to wait any more.
func (l *lifecycle) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.quit:
	case <-l.proc.Done():
	case <-ctx.Done():
	}
	return false
}
