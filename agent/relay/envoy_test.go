package relay_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/sluicemesh/sluice/agent/backoff"
	"github.com/sluicemesh/sluice/agent/bootstrap"
	"github.com/sluicemesh/sluice/agent/envoy"
	"github.com/sluicemesh/sluice/agent/internal/envoytest"
	"github.com/sluicemesh/sluice/agent/relay"
	"github.com/sluicemesh/sluice/agent/relay/store"
	"github.com/sluicemesh/sluice/agent/relay/upstream"
	"github.com/sluicemesh/sluice/internal/nodemeta"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type messages = map[string]proto.Message

// mesh is a control plane, a relay and a real Envoy.
type mesh struct {
	t      *testing.T
	plane  *envoytest.Plane
	params bootstrap.Params
	dir    string
	proc   *envoy.Process
	exited chan error
	admin  *envoy.Admin
	port   uint16 // of the listener
}

func newMesh(t *testing.T) *mesh {
	dir, err := os.MkdirTemp("", "sluice") // short: a socket's path has 108 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	m := &mesh{t: t, plane: envoytest.NewPlane(), dir: dir, port: envoytest.FreePort(t)}
	ip := netip.MustParseAddr("127.0.0.1")
	m.params = bootstrap.Params{
		Node:      nodemeta.Node{Role: nodemeta.Sidecar, IP: ip, Name: "a", Namespace: "b", DNSDomain: "b.svc.cluster.local", Cluster: "a.b", Store: true},
		Families:  bootstrap.Families{V4: true},
		XDSSocket: filepath.Join(dir, "XDS"), SDSSocket: filepath.Join(dir, "SDS"),
		AdminPort: envoytest.FreePort(t), PrometheusPort: envoytest.FreePort(t),
	}
	m.admin = envoy.NewAdmin("127.0.0.1:" + strconv.Itoa(int(m.params.AdminPort)))
	t.Cleanup(m.admin.Close)
	m.plane.Start(t)
	lis, err := net.Listen("unix", m.params.XDSSocket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- relay.Run(ctx, relay.Config{Listener: lis, Log: slog.New(slog.DiscardHandler), Upstream: upstream.Config{
			Node: m.params.Node.Proto(), Log: slog.New(slog.DiscardHandler),
			Backoff: &backoff.Backoff{Min: 10 * time.Millisecond, Max: 50 * time.Millisecond},
			Dial: func() (*grpc.ClientConn, error) {
				return grpc.NewClient("passthrough:///"+m.plane.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
			},
		}})
	}()
	t.Cleanup(func() {
		m.stopEnvoy()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("relay: %v", err)
		}
		os.RemoveAll(dir)
	})
	return m
}

func (m *mesh) startEnvoy() {
	m.t.Helper()
	data, err := bootstrap.Encode(m.params)
	if err != nil {
		m.t.Fatal(err)
	}
	file := filepath.Join(m.dir, "envoy.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		m.t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(m.dir, "envoy.log"))
	if err != nil {
		m.t.Fatal(err)
	}
	defer log.Close()
	m.proc, err = envoy.Start(envoy.Options{
		Binary: envoytest.Binary(m.t), ConfigFile: file, LogLevel: "warning", Concurrency: 1,
		DrainTime: time.Second, FileFlush: time.Second,
	}, log, log)
	if err != nil {
		m.t.Fatal(err)
	}
	m.exited = make(chan error, 1)
	go func(p *envoy.Process, exited chan error) { exited <- p.Wait() }(m.proc, m.exited)
}

func (m *mesh) stopEnvoy() {
	if m.proc == nil {
		return
	}
	m.proc.Stop(context.Background())
	<-m.exited
	m.proc = nil
	if m.t.Failed() {
		log, _ := os.ReadFile(filepath.Join(m.dir, "envoy.log"))
		m.t.Logf("envoy's log:\n%s", log)
	}
}

// get sends one request through Envoy and returns the status.
func (m *mesh) get(host string) (int, error) {
	req, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:"+strconv.Itoa(int(m.port)), nil)
	if err != nil {
		return 0, err
	}
	req.Host = host
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func (m *mesh) untilStatus(what, host string, want int) {
	m.t.Helper()
	envoytest.Until(m.t, what, func() error {
		got, err := m.get(host)
		if err == nil && got != want {
			err = fmt.Errorf("status %d, want %d", got, want)
		}
		return err
	})
}

func (m *mesh) untilStat(name string, want uint64) {
	m.t.Helper()
	envoytest.Until(m.t, name, func() error {
		all, err := m.admin.Stats(m.t.Context(), "^"+strings.ReplaceAll(name, ".", `\.`)+"$")
		if err == nil && all[name] != want {
			err = fmt.Errorf("is %d, want %d", all[name], want)
		}
		return err
	})
}

// untilAnswered waits until the control plane's nonce was answered and returns the error.
func (m *mesh) untilRejected(text string) {
	m.t.Helper()
	envoytest.Until(m.t, "rejection", func() error {
		for _, r := range m.plane.Requests() {
			if strings.Contains(r.GetErrorDetail().GetMessage(), text) {
				return nil
			}
		}
		return errors.New("not seen")
	})
}

// serve fills the control plane with one service behind one route table.
func (m *mesh) serve() {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))
	m.t.Cleanup(backend.Close)
	port, err := strconv.ParseUint(backend.URL[strings.LastIndexByte(backend.URL, ':')+1:], 10, 16)
	if err != nil {
		m.t.Fatal(err)
	}
	m.plane.Set(m.t, store.Cluster, messages{"c": envoytest.Cluster("c", time.Second)})
	m.plane.Set(m.t, store.Endpoints, messages{"c": envoytest.Endpoints("c", uint16(port)), "other": envoytest.Endpoints("other", 1)})
	m.plane.Set(m.t, store.Listener, messages{"l": envoytest.Listener(m.t, "l", m.port, "r")})
	m.plane.Set(m.t, store.Route, messages{"r": &routev3.RouteConfiguration{Name: "r"}})
	m.plane.Set(m.t, store.VirtualHost, messages{"r/a": envoytest.Host("a", "a", "c"), "r/b": envoytest.Direct("b", "b", 218)})
}

// TestRealEnvoy takes a real Envoy through configuration, updates, rejections, its own
// death and that of the control plane.
func TestRealEnvoy(t *testing.T) {
	m := newMesh(t)
	m.serve()
	m.startEnvoy()
	m.untilStatus("route to a cluster", "a", http.StatusAccepted)
	m.untilStatus("direct route", "b", 218)

	m.plane.Set(t, store.VirtualHost, messages{"r/b": envoytest.Direct("b", "b", 219)})
	m.untilStatus("one changed host", "b", 219)
	m.plane.Remove(store.VirtualHost, "r/b")
	m.untilStatus("removed host", "b", http.StatusNotFound)

	m.plane.Set(t, store.Cluster, messages{"c": envoytest.Cluster("c", 2*time.Second)})
	m.untilStat("cluster_manager.cluster_modified", 1)
	m.untilStat("cluster_manager.warming_clusters", 0)
	m.untilStatus("updated cluster", "a", http.StatusAccepted)

	m.plane.Set(t, store.Cluster, messages{"bad": envoytest.BadCluster("bad"), "new": envoytest.Cluster("new", time.Second)})
	m.untilRejected("bad: ")
	m.plane.Set(t, store.VirtualHost, messages{
		"r/c": envoytest.Direct("c", "c", 220), "r/d": envoytest.Direct("d", "a", 221), // d steals a's domain
	})
	m.untilRejected("r/d: ")
	m.untilStatus("innocent host", "c", 220)
	m.untilStatus("good host stays", "a", http.StatusAccepted)
	m.untilStat("cluster_manager.warming_clusters", 0)
	m.plane.Set(t, store.VirtualHost, messages{"r/d": envoytest.Direct("d", "d", 221)})
	m.untilStatus("mended host", "d", 221)

	m.plane.Stop()
	m.untilStatus("control plane gone", "a", http.StatusAccepted)
	m.stopEnvoy()
	m.startEnvoy()
	m.untilStatus("new envoy, no control plane", "a", http.StatusAccepted)
	m.untilStatus("new envoy, no control plane", "d", 221)
	m.plane.Set(t, store.VirtualHost, messages{"r/e": envoytest.Direct("e", "e", 222)})
	m.plane.Remove(store.VirtualHost, "r/c")
	m.plane.Start(t)
	m.untilStatus("control plane back, added", "e", 222)
	m.untilStatus("control plane back, removed", "c", http.StatusNotFound)

	m.plane.Remove(store.Cluster, "c")
	m.untilStatus("cluster removed", "a", http.StatusServiceUnavailable)
	m.serve()
	m.untilStatus("cluster back", "a", http.StatusAccepted)
	m.plane.Remove(store.Listener, "l")
	m.untilStat("listener_manager.total_listeners_active", 1) // the static one
}
