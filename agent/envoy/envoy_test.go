package envoy

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestArgs(t *testing.T) {
	for _, c := range []struct {
		in   Options
		want string
	}{
		{Options{ConfigFile: "f.json", LogLevel: "warning", DrainTime: 45 * time.Second, FileFlush: time.Second},
			"-c f.json --drain-time-s 45 --drain-strategy immediate --local-address-ip-version v4 --file-flush-interval-msec 1000 --disable-hot-restart --allow-unknown-static-fields -l warning"},
		{Options{ConfigFile: "f", LogLevel: "info", ComponentLogLevel: "misc:error", Concurrency: 2, DrainTime: time.Second, FileFlush: 2 * time.Second, FileFlushMinKB: 64, SkipDeprecated: true, LocalV6: true, OverrideYAML: "a: b"},
			"-c f --drain-time-s 1 --drain-strategy immediate --local-address-ip-version v6 --file-flush-interval-msec 2000 --disable-hot-restart --allow-unknown-static-fields --file-flush-min-size-kb 64 -l info --component-log-level misc:error --skip-deprecated-logs --config-yaml a: b --concurrency 2"},
	} {
		if diff := cmp.Diff(c.want, strings.Join(c.in.Args(), " ")); diff != "" {
			t.Error(diff)
		}
	}
}

// script starts a shell script in Envoy's place and waits until it has started.
func script(t *testing.T, body string) (*Process, chan error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "envoy")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(Options{Binary: path}, w, io.Discard)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	r.Close()
	done := make(chan error, 1)
	go func() { done <- p.Wait() }()
	return p, done
}

func TestExits(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       error
	}{
		{"zero", "echo; exit 0", nil},
		{"code", "echo; exit 3", &ExitError{Code: 3}},
		{"signal", "echo; kill -9 $$", &ExitError{Code: -1, Signal: syscall.SIGKILL}},
	} {
		_, done := script(t, c.body)
		if diff := cmp.Diff(c.want, <-done); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	if s := (&ExitError{Code: -1, Signal: syscall.SIGKILL}).Error(); !strings.Contains(s, "memory") {
		t.Errorf("no hint at memory: %s", s)
	}
	if _, err := Start(Options{Binary: "/does/not/exist"}, nil, nil); err == nil {
		t.Error("a missing binary starts")
	}
}

func TestStopAsksAndThenKills(t *testing.T) {
	p, done := script(t, "trap 'exit 0' TERM; echo; while :; do sleep 0.01; done")
	p.Stop(t.Context())
	if err := <-done; err != nil {
		t.Errorf("polite process: %v", err)
	}
	p, done = script(t, "trap '' TERM; echo; while :; do sleep 0.01; done")
	start := time.Now()
	p.Stop(t.Context())
	var exit *ExitError
	if err := <-done; !errors.As(err, &exit) || exit.Signal != syscall.SIGKILL {
		t.Errorf("deaf process: %v", err)
	}
	if d := time.Since(start); d < killAfter {
		t.Errorf("killed after %v, before its time", d)
	}
}

func TestReady(t *testing.T) {
	for _, c := range []struct{ name, stats, want string }{
		{"nothing yet", "server.state: 2\n", "clusters received false, listeners received false"},
		{"clusters only", "cluster_manager.cds.update_success: 1\n", "clusters received true, listeners received false"},
		{"rejected", "cluster_manager.cds.update_success: 1\nlistener_manager.lds.update_rejected: 2\n", "listeners 2 times"},
		{"initialising", "cluster_manager.cds.update_success: 1\nlistener_manager.lds.update_success: 1\nserver.state: 3\n", "state 3"},
		{"no workers", "cluster_manager.cds.update_success: 1\nlistener_manager.lds.update_success: 1\nserver.state: 0\nlistener_manager.workers_started: 0\n", "workers"},
		{"ready", "cluster_manager.cds.update_success: 1\nlistener_manager.lds.update_success: 1\nserver.state: 0\nlistener_manager.workers_started: 1\n", ""},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/stats" || !r.URL.Query().Has("usedonly") {
				w.WriteHeader(http.StatusNotFound)
			}
			io.WriteString(w, c.stats)
		}))
		a := NewAdmin(srv.Listener.Addr().String())
		err := a.Ready(t.Context())
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Ready = %v, want %q", c.name, err, c.want)
		}
		a.Close()
		srv.Close()
	}
	if err := NewAdmin("127.0.0.1:1").Ready(t.Context()); err == nil {
		t.Error("ready without an Envoy")
	}
}

func TestCountConnections(t *testing.T) {
	for _, c := range []struct {
		stats map[string]uint64
		sum   uint64
		ok    bool
	}{
		{nil, 0, false},
		{map[string]uint64{"listener.0.0.0.0_15006.downstream_cx_active": 2, "listener.0.0.0.0_15001.downstream_cx_active": 3}, 5, true},
		{map[string]uint64{
			"listener.0.0.0.0_15021.downstream_cx_active": 1, "listener.0.0.0.0_15090.downstream_cx_active": 1,
			"listener.admin.downstream_cx_active": 1, "listener.envoy_internal_x.downstream_cx_active": 1,
			"listener.0.0.0.0_15006.worker_0.downstream_cx_active": 7, "listener.0.0.0.0_15006.downstream_cx_active": 0,
		}, 0, true},
	} {
		if sum, ok := countConnections(c.stats, []string{"15021", "15090"}); sum != c.sum || ok != c.ok {
			t.Errorf("countConnections(%v) = %d, %v", c.stats, sum, ok)
		}
	}
}

func TestDrainQuery(t *testing.T) {
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Method + " " + r.URL.String() }))
	defer srv.Close()
	a := NewAdmin(srv.Listener.Addr().String())
	defer a.Close()
	for _, c := range []struct {
		inbound, skip bool
		want          string
	}{
		{true, false, "POST /drain_listeners?graceful&inboundonly"}, {false, false, "POST /drain_listeners?graceful"},
		{true, true, "POST /drain_listeners?graceful&skip_exit&inboundonly"},
	} {
		if err := a.Drain(t.Context(), c.inbound, c.skip); err != nil || got != c.want {
			t.Errorf("Drain(%v, %v) sent %q (%v), want %q", c.inbound, c.skip, got, err, c.want)
		}
	}
}
