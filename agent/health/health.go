// Package health is the agent's HTTP server on the status port: readiness, the
// application's probes on behalf of the kubelet, the merged metrics, and the switches
// that drain and stop the proxy.
//
// It listens on all addresses in plain HTTP, because the kubelet and Prometheus come from
// outside the pod; what changes something is for loopback peers and POST only. It stays up
// while the proxy drains, so that probes and the last scrape are answered.
package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluicemesh/sluice/agent/config"
)

// Lifecycle is what the server can ask of the agent.
type Lifecycle interface {
	// Quit stops the proxy at once, without draining.
	Quit()
	// Drain makes the proxy finish what it has, and its later stop immediate.
	Drain(ctx context.Context) error
	// Stopping reports that the proxy is on its way out and takes no new work.
	Stopping() bool
}

// Config is what the server needs.
type Config struct {
	Listener net.Listener
	// Ready returns nil when the proxy serves its configuration.
	Ready     func(context.Context) error
	Lifecycle Lifecycle
	Metrics   http.Handler
	// LocalMetrics refuses metrics to peers that are not on loopback.
	LocalMetrics bool
	// Names answers /debug/ndsz, for loopback peers; nil: there is no such page.
	Names      http.Handler
	Probers    map[string]config.Prober
	ProbeHost  string // where the application listens
	StatusPort uint16
	Profiling  bool
	// FirstReady is told once, when the proxy is ready for the first time; nil: nobody.
	FirstReady func()
	Log        *slog.Logger
}

// Run serves until ctx is done and then returns nil, with connections cut.
func Run(ctx context.Context, cfg Config) error {
	prober := newProber(cfg)
	defer prober.close()
	srv := &http.Server{Handler: handler(cfg, prober), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug)}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := srv.Serve(cfg.Listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve status port: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		return srv.Close()
	})
	return g.Wait()
}

func handler(cfg Config, p *prober) http.Handler {
	mux := http.NewServeMux()
	ready := &readiness{cfg: cfg}
	mux.Handle("/healthz/ready", ready)
	metrics := cfg.Metrics
	if cfg.LocalMetrics {
		metrics = localOnly(metrics)
	}
	mux.Handle("/metrics", metrics)
	mux.Handle("/stats/prometheus", metrics)
	if cfg.Names != nil {
		mux.Handle("/debug/ndsz", localOnly(cfg.Names))
	}
	mux.Handle("/quitquitquit", localOnly(post(func(w http.ResponseWriter, _ *http.Request) {
		cfg.Log.Info("asked to stop at once")
		fmt.Fprintln(w, "OK")
		cfg.Lifecycle.Quit()
	})))
	mux.Handle("/drain", localOnly(post(func(w http.ResponseWriter, r *http.Request) {
		if err := cfg.Lifecycle.Drain(r.Context()); err != nil {
			cfg.Log.Warn("proxy not drained", "error", err)
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "OK")
	})))
	mux.Handle("/app-health/", p)
	mux.Handle("/app-lifecycle/", p)
	if cfg.Profiling {
		mux.Handle("/debug/pprof/", localOnly(http.HandlerFunc(pprof.Index)))
		mux.Handle("/debug/pprof/profile", localOnly(http.HandlerFunc(pprof.Profile)))
		mux.Handle("/debug/pprof/trace", localOnly(http.HandlerFunc(pprof.Trace)))
	}
	return mux
}

// localOnly refuses peers that are not on loopback.
func localOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !peer.Addr().Unmap().IsLoopback() {
			http.Error(w, "only requests from localhost are allowed", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func post(fn http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "use POST", http.StatusMethodNotAllowed)
			return
		}
		fn(w, r)
	})
}

// readiness answers the kubelet. Once ready, the answer depends on the stop only: that
// Envoy is alive is shown by the request having come through it.
type readiness struct {
	cfg Config

	mu      sync.Mutex
	reached bool // ready at least once
	last    bool // last answer, to log changes only
}

// ServeHTTP answers 200 or 503.
func (h *readiness) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := h.check(r.Context())
	h.mu.Lock()
	changed := h.last != (err == nil)
	h.last = err == nil
	h.mu.Unlock()
	if err != nil {
		if changed {
			h.cfg.Log.Warn("not ready any more", "reason", err)
		} else {
			h.cfg.Log.Debug("not ready", "reason", err)
		}
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	if changed {
		h.cfg.Log.Info("ready")
	}
	w.WriteHeader(http.StatusOK)
}

func (h *readiness) check(ctx context.Context) error {
	if h.cfg.Lifecycle.Stopping() {
		return errors.New("the proxy is stopping")
	}
	h.mu.Lock()
	reached := h.reached
	h.mu.Unlock()
	if reached {
		return nil
	}
	if err := h.cfg.Ready(ctx); err != nil {
		return err
	}
	h.mu.Lock()
	first := !h.reached
	h.reached = true
	h.mu.Unlock()
	if first && h.cfg.FirstReady != nil {
		h.cfg.FirstReady()
	}
	return nil
}
