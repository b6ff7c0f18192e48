package command

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func run(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	code := Execute(t.Context(), IO{Args: args, Stdout: &out, Stderr: &out, Version: "1.2.3"})
	return code, out.String()
}

func TestVerbs(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		out  string
	}{
		{[]string{"version"}, 0, "sluice-agent 1.2.3 for Envoy 1.40.0\n"},
		{[]string{"nonsense"}, 1, "unknown command"},
		{[]string{"proxy", "waypoint", "--newFlag=1"}, 1, `role "waypoint" is neither sidecar nor router`},
		{[]string{"request", "--debug-port", "0", "GET", "/"}, 1, "nothing listens on port 0"},
		{[]string{"request", "GET"}, 1, "accepts 2 arg"},
	} {
		code, out := run(t, c.args...)
		if code != c.code || !strings.Contains(out, c.out) {
			t.Errorf("%v = %d %q, want %d %q", c.args, code, out, c.code, c.out)
		}
	}
}

func TestWait(t *testing.T) {
	var n atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer srv.Close()
	if code, out := run(t, "wait", "--url", srv.URL, "--periodMillis", "1"); code != 0 || n.Load() != 3 {
		t.Errorf("wait = %d after %d requests: %s", code, n.Load(), out)
	}
	if code, out := run(t, "wait", "--url", "http://127.0.0.1:1", "--timeoutSeconds", "0"); code != 1 || !strings.Contains(out, "not ready after 0 seconds") {
		t.Errorf("wait = %d %q", code, out)
	}
}

func TestSend(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusForbidden)
		}
		w.Write([]byte(r.Method))
	}))
	defer srv.Close()
	var out bytes.Buffer
	if err := send(t.Context(), "POST", srv.URL+"/drain", &out); err != nil || out.String() != "POST" {
		t.Errorf("send: %v %q", err, out.String())
	}
	if err := send(t.Context(), "GET", srv.URL+"/no", &out); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("send to a refusing server: %v", err)
	}
}

// TestRequestAnyPort: the drain hook names the agent's port, which the user may choose.
func TestRequestAnyPort(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(r.Method + " " + r.URL.Path))
	}))
	defer srv.Close()
	port := srv.URL[strings.LastIndexByte(srv.URL, ':')+1:]
	if code, out := run(t, "request", "--debug-port="+port, "POST", "drain"); code != 0 || out != "POST /drain" {
		t.Errorf("request = %d %q", code, out)
	}
}

func TestUnknownFlags(t *testing.T) {
	cmd := proxyCommand(IO{})
	got := unknownFlags(cmd.Flags(), []string{"proxy", "sidecar", "--domain", "x", "--newThing=1", "--newThing=2", "--stsPort", "0", "-q", "--", "--late"})
	if diff := cmp.Diff([]string{"newThing"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestExec(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var program string
	var args []string
	record := func(p string, a []string, _ []string) error {
		program, args = p, a
		return errors.New("not replaced")
	}
	handled, err := Exec([]string{"istio-iptables", "-p", "15001"}, nil, record)
	want := filepath.Join(filepath.Dir(self), "sluice-init")
	if !handled || err == nil || program != want {
		t.Errorf("Exec = %v %v, ran %q, want %q", handled, err, program, want)
	}
	if diff := cmp.Diff([]string{want, "istio-iptables", "-p", "15001"}, args); diff != "" {
		t.Error(diff)
	}
	for _, args := range [][]string{nil, {"proxy", "istio-iptables"}} {
		if handled, err := Exec(args, nil, record); handled || err != nil {
			t.Errorf("Exec(%v) = %v %v", args, handled, err)
		}
	}
}
