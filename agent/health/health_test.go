package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/sluicemesh/sluice/agent/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type life struct {
	stopping      bool
	quits, drains int
	err           error
}

func (l *life) Quit()                       { l.quits++ }
func (l *life) Drain(context.Context) error { l.drains++; return l.err }
func (l *life) Stopping() bool              { return l.stopping }

// app is an application that is probed.
func app(t *testing.T) (host string, port uint16) {
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", r.Method, r.Host, r.Header.Get("X-Probe"))
	})
	mux.HandleFunc("/fail", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusFound)
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 20<<10)) })
	mux.HandleFunc("/source", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.RemoteAddr[:strings.LastIndex(r.RemoteAddr, ":")])
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return split(t, srv.Listener.Addr())
}

func split(t *testing.T, a net.Addr) (string, uint16) {
	t.Helper()
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return host, uint16(n)
}

func TestProbes(t *testing.T) {
	host, port := app(t)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }))
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)
	_, tlsPort := split(t, secure.Listener.Addr())
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gs, hs := grpc.NewServer(), grpchealth.NewServer()
	healthv1.RegisterHealthServer(gs, hs)
	hs.SetServingStatus("down", healthv1.HealthCheckResponse_NOT_SERVING)
	done := make(chan error, 1)
	go func() { done <- gs.Serve(lis) }()
	t.Cleanup(func() { gs.Stop(); <-done })
	_, grpcPort := split(t, lis.Addr())

	get := func(path string) config.Prober {
		return config.Prober{HTTPGet: &config.HTTPGet{Path: path, Port: port}}
	}
	for _, c := range []struct {
		name   string
		prober config.Prober
		code   int
		body   string
	}{
		{"ok, with host and headers", get("/ok"), 200, "GET pod:" + strconv.Itoa(int(port)) + " yes"},
		{"failure", get("/fail"), http.StatusTeapot, ""},
		{"relative path", get("ok"), 200, "GET pod:" + strconv.Itoa(int(port)) + " yes"},
		{"redirect at home", get("/moved"), 200, "GET"},
		{"redirect away", get("/away"), 200, ""},
		{"endless redirect", get("/loop"), 500, "redirects"},
		{"from 127.0.0.6", get("/source"), 200, "127.0.0.6"},
		{"closed port", config.Prober{HTTPGet: &config.HTTPGet{Port: 1}}, 500, "refused"},
		{"https, http/2", config.Prober{HTTPGet: &config.HTTPGet{Scheme: "HTTPS", Port: tlsPort}}, 200, "HTTP/2.0"},
		{"host header", config.Prober{HTTPGet: &config.HTTPGet{Path: "/ok", Port: port, HTTPHeaders: []config.Header{{Name: "host", Value: "h.example"}}}}, 200, "GET h.example yes"},
		{"tcp", config.Prober{TCPSocket: &config.TCPSocket{Port: port}}, 200, ""},
		{"tcp closed", config.Prober{TCPSocket: &config.TCPSocket{Port: 1}}, 500, "refused"},
		{"grpc", config.Prober{GRPC: &config.GRPC{Port: grpcPort}}, 200, ""},
		{"grpc not serving", config.Prober{GRPC: &config.GRPC{Port: grpcPort, Service: "down"}}, 500, "NOT_SERVING"},
		{"grpc unknown service", config.Prober{GRPC: &config.GRPC{Port: grpcPort, Service: "x"}}, 500, "unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			const path = "/app-health/c/readyz"
			p := newProber(Config{Probers: map[string]config.Prober{path: c.prober}, ProbeHost: host, StatusPort: 15020, Log: slog.New(slog.DiscardHandler)})
			defer p.close()
			req := httptest.NewRequest(http.MethodGet, "http://pod:15020"+path, nil)
			req.Header.Set("X-Probe", "yes")
			rec := httptest.NewRecorder()
			p.ServeHTTP(rec, req)
			if rec.Code != c.code || !strings.Contains(rec.Body.String(), c.body) {
				t.Errorf("got %d %q, want %d %q", rec.Code, rec.Body, c.code, c.body)
			}
		})
	}
	t.Run("large body is cut", func(t *testing.T) {
		const path = "/app-health/c/livez"
		p := newProber(Config{Probers: map[string]config.Prober{path: get("/large")}, ProbeHost: host, Log: slog.New(slog.DiscardHandler)})
		defer p.close()
		rec := httptest.NewRecorder()
		p.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		if rec.Body.Len() != 10<<10 {
			t.Errorf("body of %d bytes", rec.Body.Len())
		}
	})
}

func TestServer(t *testing.T) {
	l := &life{}
	notReady := errors.New("no configuration yet")
	readyErr, firsts := notReady, 0
	cfg := Config{
		Ready: func(context.Context) error { return readyErr }, Lifecycle: l, FirstReady: func() { firsts++ },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "m") }), LocalMetrics: true,
		Profiling: true, Log: slog.New(slog.DiscardHandler),
	}
	p := newProber(cfg)
	h := handler(cfg, p)
	try := func(method, path, peer string, want int) {
		t.Helper()
		req := httptest.NewRequest(method, path, nil)
		req.RemoteAddr = peer
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if rec.Code != want {
			t.Errorf("%s %s from %s = %d, want %d", method, path, peer, rec.Code, want)
		}
	}
	const local, local6, mapped, remote = "127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "10.0.0.1:1"
	try("GET", "/healthz/ready", remote, 503)
	readyErr = nil
	try("GET", "/healthz/ready", remote, 200)
	readyErr = notReady
	try("GET", "/healthz/ready", remote, 200) // remembered: a slow admin interface fails no probe
	l.stopping = true
	try("GET", "/healthz/ready", remote, 503)
	try("GET", "/metrics", local, 200)
	try("GET", "/stats/prometheus", local6, 200)
	try("GET", "/stats/prometheus", remote, 403)
	try("POST", "/quitquitquit", remote, 403)
	try("GET", "/quitquitquit", local, 405)
	try("POST", "/quitquitquit", mapped, 200)
	try("POST", "/drain", remote, 403)
	try("POST", "/drain", local, 200)
	l.err = errors.New("no admin")
	try("POST", "/drain", local, 500)
	try("GET", "/app-health/x/readyz", remote, 400)
	try("GET", "/debug/pprof/", remote, 403)
	try("GET", "/other", remote, 404)
	if l.quits != 1 || l.drains != 2 || firsts != 1 {
		t.Errorf("quits %d, drains %d, first ready %d", l.quits, l.drains, firsts)
	}
}
