package accept

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy/cluster"
	"github.com/sluicemesh/sluice/xds/envoy/filter"
	"github.com/sluicemesh/sluice/xds/envoy/pack"
	"github.com/sluicemesh/sluice/xds/envoy/route"
	"github.com/sluicemesh/sluice/xds/envoy/tlscontext"
	"github.com/sluicemesh/sluice/xds/ir"
)

// A service port of undeclared protocol: the server must be able to tell from the ALPN list
// what the client speaks, and is spoken to in it.
func TestRouteTellsProtocol(t *testing.T) {
	offers := make(chan []string, 1)
	server := alpnServer(t, offers)
	o := cluster.Outbound{
		Service:   ir.Service{ID: ir.ServiceID{Host: "127.0.0.1"}, Registry: ir.External, Resolution: ir.DNS},
		Port:      ir.Port{Number: 80, Protocol: ir.Auto},
		Endpoints: []ir.Endpoint{{Address: "127.0.0.1", Port: server, Weight: 1, MeshTLS: true}},
	}
	k := cluster.Key{Families: class.IPv4, AutoMTLS: true, ConnectTimeout: time.Second, DNSRefresh: time.Minute}
	c := cluster.BuildOutbound(o, k)
	trust(t, c.TransportSocket)
	target := route.Target{Cluster: c.Name, ALPN: cluster.RouteALPN(o, k)}
	weighted := ir.Route{Backends: []ir.Backend{{Weight: 1}, {Weight: 1}}}
	address := start(t, c, &routev3.RouteConfiguration{Name: "r", VirtualHosts: []*routev3.VirtualHost{
		route.Default(route.VirtualHost{Name: "one", Domains: []string{"one"}}, target),
		route.Build(route.VirtualHost{Name: "two", Domains: []string{"two"}, Rules: []route.Rule{{Route: weighted, Targets: []route.Target{target, target}}}}),
	}})
	for _, c := range []struct {
		host  string
		http2 bool
		offer []string
		proto string
	}{
		{"one", false, []string{"istio-http/1.1", "istio", "http/1.1"}, "HTTP/1.1"},
		{"one", true, []string{"istio-h2", "istio", "h2"}, "HTTP/2.0"},
		{"two", false, []string{"istio-http/1.1", "istio", "http/1.1"}, "HTTP/1.1"},
		{"two", true, []string{"istio-h2", "istio", "h2"}, "HTTP/2.0"},
	} {
		if got := get(t, address, c.host, c.http2); got != c.proto {
			t.Errorf("%s, http2 %v: the server was spoken to in %q, want %q", c.host, c.http2, got, c.proto)
		}
		select {
		case got := <-offers:
			if diff := cmp.Diff(c.offer, got); diff != "" {
				t.Errorf("%s, http2 %v: the ALPN list differs (-want +got):\n%s", c.host, c.http2, diff)
			}
		default:
			t.Errorf("%s, http2 %v: no TLS connection was made", c.host, c.http2)
		}
	}
}

// alpnServer answers with the protocol it was spoken to, closes each connection after one
// request, and tells what clients offered.
func alpnServer(t *testing.T, offers chan<- []string) (port uint16) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, r.Proto)
	}))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		offers <- h.SupportedProtos
		return nil, nil
	}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).AddrPort().Port()
}

// trust takes the mesh's certificates, which nobody serves here, out of a client's end.
func trust(t *testing.T, socket *corev3.TransportSocket) {
	t.Helper()
	up := &tlsv3.UpstreamTlsContext{}
	if err := socket.GetTypedConfig().UnmarshalTo(up); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tlscontext.TCPProtocols(), up.CommonTlsContext.AlpnProtocols); diff != "" {
		t.Fatalf("the cluster's own list differs (-want +got):\n%s", diff)
	}
	up.CommonTlsContext = &tlsv3.CommonTlsContext{AlpnProtocols: up.CommonTlsContext.AlpnProtocols}
	socket.ConfigType = &corev3.TransportSocket_TypedConfig{TypedConfig: pack.Any(up)}
}

// start runs Envoy with one listener and returns the listener's address.
func start(t *testing.T, c proto.Message, table *routev3.RouteConfiguration) string {
	t.Helper()
	manager := object{}
	plain(t, filter.Manager(filter.HTTP{Side: filter.Outbound, StatPrefix: "test", Inline: table}), &manager)
	clusters := object{}
	plain(t, c, &clusters)
	loopback := object{"socketAddress": object{"address": "127.0.0.1", "portValue": 0}}
	dir := t.TempDir()
	config, err := json.Marshal(object{
		"admin": object{"address": loopback},
		"staticResources": object{
			"clusters":  []object{clusters},
			"listeners": []object{{"name": "l", "address": loopback, "filterChains": []object{{"filters": []object{manager}}}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "c.json"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	adminFile := filepath.Join(dir, "admin")
	ctx, stop := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, envoyBinary(t), "-c", filepath.Join(dir, "c.json"), "--concurrency", "1",
		"-l", "warning", "--admin-address-path", adminFile, "--use-dynamic-base-id")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait() // killed: there is nothing to learn from its status
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return listening(t, adminFile)
}

// listening waits until Envoy is live and returns the listener's address.
func listening(t *testing.T, adminFile string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			t.Fatal("Envoy did not start within 20 s")
		case <-tick.C:
		}
		admin, err := os.ReadFile(adminFile)
		if err != nil || len(admin) == 0 {
			continue
		}
		if ready, err := fetch(ctx, "http://"+string(admin)+"/ready"); err != nil || !strings.HasPrefix(ready, "LIVE") {
			continue
		}
		if text, err := fetch(ctx, "http://"+string(admin)+"/listeners"); err == nil {
			if _, address, ok := strings.Cut(strings.TrimSpace(text), "::"); ok {
				return address
			}
		}
	}
}

func fetch(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return string(body), err
}

// get asks for a host through Envoy and returns the answer's body.
func get(t *testing.T, address, host string, http2 bool) string {
	t.Helper()
	protocols := &http.Protocols{}
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// plain turns a message into what JSON makes of it.
func plain(t *testing.T, m proto.Message, out *object) {
	t.Helper()
	text, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, out); err != nil {
		t.Fatal(err)
	}
}
