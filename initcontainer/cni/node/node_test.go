package node

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/sluicemesh/sluice/initcontainer/cni/repair"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const network = `{"name":"net","plugins":[{"type":"ptp"}]}`

// log is a writer that several goroutines may use.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// world is a node and an API server.
type world struct {
	Config
	t         *testing.T
	log       *log
	daemonSet func(http.ResponseWriter) // answers for the DaemonSet
	patched   chan string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, log: &log{}, patched: make(chan string, 10)}
	server := httptest.NewTLSServer(http.HandlerFunc(w.answer))
	t.Cleanup(server.Close)
	root := t.TempDir()
	for _, dir := range []string{"bin", "net.d", "run", "account", "proc"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for file, text := range map[string]string{"account/token": "t", "account/ca.crt": string(ca), "net.d/10.conflist": network} {
		if err := os.WriteFile(filepath.Join(root, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	host, port, err := net.SplitHostPort(strings.TrimPrefix(server.URL, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{
		"CNI_RUN_DIR": root + "/run", "MOUNTED_CNI_BIN_DIR": root + "/bin", "MOUNTED_CNI_NET_DIR": root + "/net.d",
		"SERVICE_ACCOUNT_DIR": root + "/account", "HOST_PROC": root + "/proc", "NODE_NAME": "n1", "UNTAINT_NODE": "true",
		"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, "LOG_LEVEL": "debug", "EXCLUDE_NAMESPACES": "kube-system, storage",
	}
	if w.Config, err = Parse(func(name string) string { return env[name] }); err != nil {
		t.Fatal(err)
	}
	w.Ready, w.Metrics = free(t), free(t)
	return w
}

// answer is the API server.
func (w *world) answer(out http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/daemonsets/istio-cni-node"):
		w.daemonSet(out)
	case r.Method == http.MethodPatch:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.t.Error(err)
		}
		w.patched <- r.URL.Path + " " + string(body)
	case r.URL.Path == "/api/v1/nodes/n1":
		fmt.Fprint(out, `{"spec":{"taints":[{"key":"cni.istio.io/not-ready"}]}}`)
	case r.URL.Query().Get("watch") != "":
		out.(http.Flusher).Flush()
		<-r.Context().Done()
	default:
		fmt.Fprint(out, `{"items":[]}`)
	}
}

// free is an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(10 * time.Second); !ok(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: not within 10s", what)
		}
	}
}

func (w *world) config() string {
	text, err := os.ReadFile(filepath.Join(w.Install.NetDir, "10.conflist"))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// get asks over HTTP; "" where nobody answers with success.
func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return ""
	}
	return string(text)
}

// TestRun: what a node sees from the first to the last moment, and what is left there.
func TestRun(t *testing.T) {
	tests := []struct {
		name      string
		daemonSet func(http.ResponseWriter)
		stays     bool
	}{
		{"restarted", func(w http.ResponseWriter) { fmt.Fprint(w, `{}`) }, true},
		{"deleted", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, false},
		{"being deleted", func(w http.ResponseWriter) {
			fmt.Fprint(w, `{"metadata":{"deletionTimestamp":"2026-01-02T03:04:05Z"}}`)
		}, false},
		{"account deleted", func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) }, false},
		{"API server broken", func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.daemonSet = tt.daemonSet
			ctx, cancel := context.WithCancel(t.Context())
			var g errgroup.Group
			g.Go(func() error { return Run(ctx, w.Config, w.log) })
			until(t, "ready", func() bool { return get(t, "http://"+w.Ready+"/readyz") != "" })
			if text := w.config(); !strings.Contains(text, `"istio-cni"`) || !strings.Contains(text, `["kube-system","storage"]`) {
				t.Errorf("configuration %s", text)
			}
			if want := `/api/v1/nodes/n1 {"metadata":{"resourceVersion":""},"spec":{"taints":[]}}`; <-w.patched != want {
				t.Errorf("the node was not patched with %s", want)
			}
			until(t, "metrics", func() bool {
				text := get(t, "http://"+w.Metrics+"/metrics")
				return strings.Contains(text, "istio_cni_install_ready 1") && strings.Contains(text, `istio_cni_installs_total{result="SUCCESS"} 1`)
			})
			line, err := net.Dial("unixgram", w.LogSocket)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := line.Write([]byte("a line of the plug-in\n")); err != nil {
				t.Fatal(err)
			}
			_ = line.Close()
			until(t, "log line", func() bool { return strings.Contains(w.log.String(), "a line of the plug-in\n") })
			cancel()
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
			if stays := w.config() != network; stays != tt.stays {
				t.Errorf("plug-in stays: %v; want %v\n%s", stays, tt.stays, w.log)
			}
			if _, err := os.Stat(filepath.Join(w.Install.BinDir, "istio-cni")); (err == nil) != tt.stays {
				t.Errorf("program stays: %v; want %v", err, tt.stays)
			}
			if _, err := os.Stat(w.LogSocket); err == nil {
				t.Error("the log's socket is left")
			}
		})
	}
}

func TestParseMode(t *testing.T) {
	for _, tt := range []struct {
		env  string
		want repair.Mode
	}{
		{"", repair.Repair},
		{"REPAIR_ENABLED=false", repair.Off},
		{"REPAIR_REPAIR_PODS=false", repair.Off},
		{"REPAIR_REPAIR_PODS=false REPAIR_DELETE_PODS=true", repair.Delete},
		{"REPAIR_REPAIR_PODS=false REPAIR_DELETE_PODS=true REPAIR_LABEL_PODS=true", repair.Label},
		{"REPAIR_DELETE_PODS=true", repair.Repair},
	} {
		set := map[string]string{}
		for word := range strings.FieldsSeq(tt.env + " KUBERNETES_SERVICE_HOST=fd00::1 KUBERNETES_SERVICE_PORT=443 NODE_NAME=n") {
			name, value, _ := strings.Cut(word, "=")
			set[name] = value
		}
		c, err := Parse(func(name string) string { return set[name] })
		if err != nil || c.Repair.Mode != tt.want || c.Install.Server != "https://[fd00::1]:443" {
			t.Errorf("Parse(%s) = %q, %s, %v; want %q", tt.env, c.Repair.Mode, c.Install.Server, err, tt.want)
		}
	}
}

func TestParseMistakes(t *testing.T) {
	_, err := Parse(func(name string) string {
		return map[string]string{"LOG_LEVEL": "loud", "READINESS_PORT": "x", "NATIVE_NFTABLES": "maybe", "FORCE_IPTABLES_BINARY": "ebtables"}[name]
	})
	for _, want := range []string{"LOG_LEVEL", "READINESS_PORT", "NATIVE_NFTABLES", "FORCE_IPTABLES_BINARY", "KUBERNETES_SERVICE_HOST", "NODE_NAME"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse: %v; want a word about %s", err, want)
		}
	}
}
