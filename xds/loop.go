package xds

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/compile"
	"github.com/sluicemesh/sluice/xds/envoy"
	"github.com/sluicemesh/sluice/xds/source"
)

// maxGather bounds how long a change waits while others are gathered behind a turn.
const maxGather = 20 * time.Millisecond

// publisher takes what a turn changed; serve.Server is one.
type publisher interface {
	Publish([]envoy.Update)
}

// loop owns the graph: it is the only goroutine that touches it.
//
// A lone change is turned at once. Changes that come while a turn runs, or shortly after
// one, are gathered for as long as the last turn took, at most maxGather, so that under
// load a turn serves many changes and none waits longer than that.
type loop struct {
	graph   *compile.Graph
	queue   *source.Queue
	out     publisher
	synced  func() bool
	metrics *loopMetrics
	log     *slog.Logger
	kinds   map[reflect.Type]string // of api.All, by the Go type of their objects

	// started says that the first turn over the whole cluster is done.
	started atomic.Bool
	// problems are those of the last turn; replaced, never modified.
	problems atomic.Pointer[[]problem.Problem]
}

// ready is the readiness check of the control plane.
func (l *loop) ready(*http.Request) error {
	if !l.started.Load() {
		return errors.New("still reading the cluster")
	}
	return nil
}

// currentProblems are the problems that the last turn found. The result is shared.
func (l *loop) currentProblems() []problem.Problem {
	if p := l.problems.Load(); p != nil {
		return *p
	}
	return nil
}

// Connect asks for the resources of a class at the next turn.
func (l *loop) Connect(c class.Class) { l.queue.Do(func() { l.graph.Connect(c) }) }

// Disconnect forgets a class.
func (l *loop) Disconnect(c class.Class) { l.queue.Do(func() { l.graph.Disconnect(c) }) }

// run turns until ctx ends. Before the cluster was read it only gathers.
func (l *loop) run(ctx context.Context) error {
	if err := l.waitSynced(ctx); err != nil {
		return err
	}
	l.turn()
	l.started.Store(true)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.queue.Ready():
		}
		took := l.turn()
		gather := time.NewTimer(min(took, maxGather))
		select {
		case <-ctx.Done():
			gather.Stop()
			return nil
		case <-gather.C:
		}
	}
}

func (l *loop) waitSynced(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !l.synced() {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	return nil
}

// turn applies what has gathered and publishes the result. It returns how long it took.
func (l *loop) turn() time.Duration {
	start := time.Now()
	edits, calls := l.queue.Take()
	for _, call := range calls {
		call()
	}
	l.graph.Apply(l.compileEdits(edits))
	updates := l.graph.Turn()
	l.out.Publish(updates)
	took := time.Since(start)
	l.metrics.turns.Inc()
	l.metrics.edits.Add(float64(len(edits)))
	l.metrics.seconds.Observe(took.Seconds())
	l.report()
	return took
}

// compileEdits names the kinds of what the queue gathered.
func (l *loop) compileEdits(edits []source.Edit) []compile.Edit {
	out := make([]compile.Edit, len(edits))
	for i, e := range edits {
		out[i] = compile.Edit{Kind: l.kinds[reflect.TypeOf(e.Object)], Namespace: e.Object.GetNamespace(), Name: e.Object.GetName()}
		if !e.Deleted {
			out[i].Object = e.Object
		}
	}
	return out
}

// report logs problems that are new. A problem is a user's mistake and belongs on the
// object; until status writing exists the log and the debug page are where it is seen.
func (l *loop) report() {
	now, changed := l.graph.Problems()
	if !changed {
		return
	}
	shown := map[string]bool{}
	for _, p := range l.currentProblems() {
		shown[p.String()] = true
	}
	for _, p := range now {
		if !shown[p.String()] {
			l.log.Warn("problem in configuration", "origin", p.Origin.String(), "path", p.Path, "reason", p.Reason, "problem", p.Message)
		}
	}
	l.problems.Store(&now)
	l.metrics.problems.Set(float64(len(now)))
}

// loopMetrics are the loop's metrics.
type loopMetrics struct {
	turns, edits, panics prometheus.Counter
	seconds              prometheus.Histogram
	problems             prometheus.Gauge
}

func newLoopMetrics(reg prometheus.Registerer) *loopMetrics {
	m := &loopMetrics{
		turns:    prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_turns_total", Help: "Turns of the graph."}),
		edits:    prometheus.NewCounter(prometheus.CounterOpts{Name: "pilot_k8s_cfg_events", Help: "Changes of objects that were read."}),
		panics:   prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_compile_panics_total", Help: "Panics in the compiler; the last good result was kept."}),
		seconds:  prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sluice_turn_seconds", Help: "Duration of a turn.", Buckets: []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5}}),
		problems: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sluice_config_problems", Help: "Mistakes in users' objects that stand now."}),
	}
	reg.MustRegister(m.turns, m.edits, m.panics, m.seconds, m.problems)
	return m
}
