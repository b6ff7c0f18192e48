package agent

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicemesh/sluice/agent/config"
)

// fake is a proxy with its admin interface.
type fake struct {
	done   chan struct{}
	stops  int
	drains []bool // skip_exit of each
	active []uint64
	err    error
}

func (f *fake) Wait() error           { <-f.done; return nil }
func (f *fake) Done() <-chan struct{} { return f.done }
func (f *fake) Stop(context.Context)  { f.stops++ }
func (f *fake) Drain(_ context.Context, _, skipExit bool) error {
	f.drains = append(f.drains, skipExit)
	return f.err
}

func (f *fake) ActiveConnections(context.Context, []string) (uint64, bool, error) {
	if f.err != nil {
		return 0, false, f.err
	}
	n := f.active[0]
	f.active = f.active[1:]
	return n, true, nil
}

func TestLifecycle(t *testing.T) {
	idle := config.Drain{ExitOnZero: true, Minimum: 5 * time.Second}
	for _, c := range []struct {
		name   string
		cfg    config.Drain
		active []uint64
		err    error
		act    func(l *lifecycle, f *fake, cancel, fail context.CancelFunc)
		after  time.Duration
		drains int
		stops  int
		asked  bool
	}{
		{"signal", config.Drain{Wait: 5 * time.Second}, nil, nil, func(_ *lifecycle, _ *fake, cancel, _ context.CancelFunc) { cancel() }, 5 * time.Second, 1, 1, true},
		{"signal, admin dead", config.Drain{Wait: 5 * time.Second}, nil, errors.New("dead"), func(_ *lifecycle, _ *fake, cancel, _ context.CancelFunc) { cancel() }, 5 * time.Second, 1, 1, true},
		{"signal after drain", config.Drain{Wait: 5 * time.Second}, nil, nil, func(l *lifecycle, _ *fake, cancel, _ context.CancelFunc) { _ = l.Drain(context.Background()); cancel() }, 0, 1, 1, true},
		{"quit", config.Drain{Wait: 5 * time.Second}, nil, nil, func(l *lifecycle, _ *fake, _, _ context.CancelFunc) { l.Quit(); l.Quit() }, 0, 0, 1, true},
		{"quit while draining", config.Drain{Wait: time.Hour}, nil, nil, func(l *lifecycle, _ *fake, cancel, _ context.CancelFunc) {
			cancel()
			time.Sleep(time.Minute) //nolint:forbidigo // the fake time of synctest
			l.Quit()
		}, time.Minute, 1, 1, true},
		{"crash", config.Drain{Wait: 5 * time.Second}, nil, nil, func(_ *lifecycle, f *fake, _, _ context.CancelFunc) { close(f.done) }, 0, 0, 0, false},
		{"part failed", config.Drain{Wait: 5 * time.Second}, nil, nil, func(_ *lifecycle, _ *fake, _, fail context.CancelFunc) { fail() }, 0, 0, 1, false},
		{"until idle", idle, []uint64{2, 1, 0}, nil, func(_ *lifecycle, _ *fake, cancel, _ context.CancelFunc) { cancel() }, 7 * time.Second, 1, 1, true},
		{"until idle, admin dead", idle, nil, errors.New("dead"), func(_ *lifecycle, _ *fake, cancel, _ context.CancelFunc) { cancel() }, 10 * time.Second, 1, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{done: make(chan struct{}), active: c.active, err: c.err}
				l := &lifecycle{cfg: c.cfg, admin: f, proc: f, quit: make(chan struct{}), log: slog.New(slog.DiscardHandler)}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				parts, fail := context.WithCancel(t.Context())
				defer fail()
				start, ended := time.Now(), make(chan time.Time, 1)
				go func() {
					l.run(ctx, parts)
					ended <- time.Now()
				}()
				c.act(l, f, cancel, fail)
				if got := (<-ended).Sub(start); got != c.after {
					t.Errorf("stopped after %v, want %v", got, c.after)
				}
				if len(f.drains) != c.drains || f.stops != c.stops || l.Asked() != c.asked || l.Stopping() != c.asked {
					t.Errorf("drains %v, stops %d, asked %v, stopping %v", f.drains, f.stops, l.Asked(), l.Stopping())
				}
			})
		})
	}
}

func TestEnvoyVersion(t *testing.T) {
	if v := envoyVersion(); v.GetMajorNumber() != 1 || v.GetMinorNumber() != 40 || v.GetPatch() != 0 {
		t.Errorf("envoyVersion = %v", v)
	}
}
