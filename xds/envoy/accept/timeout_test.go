package accept

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy/cluster"
	"github.com/sluicemesh/sluice/xds/envoy/route"
	"github.com/sluicemesh/sluice/xds/ir"
)

// The timeout of a route ends a request that takes longer, a gRPC client's too: Envoy obeys
// only one of the two fields that can say so.
func TestTimeoutEndsRequests(t *testing.T) {
	hang := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "slow" {
			<-r.Context().Done()
		}
	}))
	t.Cleanup(hang.Close)
	o := cluster.Outbound{
		Service:   ir.Service{ID: ir.ServiceID{Host: "127.0.0.1"}, Registry: ir.External, Resolution: ir.DNS},
		Port:      ir.Port{Number: 80, Protocol: ir.HTTP},
		Endpoints: []ir.Endpoint{{Address: "127.0.0.1", Port: hang.Listener.Addr().(*net.TCPAddr).AddrPort().Port(), Weight: 1}},
	}
	c := cluster.BuildOutbound(o, cluster.Key{Families: class.IPv4, ConnectTimeout: time.Second, DNSRefresh: time.Minute})
	limit := 50 * time.Millisecond
	rule := route.Rule{
		Route:   ir.Route{Backends: []ir.Backend{{Weight: 1}}, Timeout: &limit},
		Targets: []route.Target{{Cluster: c.Name}},
	}
	address := start(t, c, &routev3.RouteConfiguration{Name: "r", VirtualHosts: []*routev3.VirtualHost{
		route.Build(route.VirtualHost{Name: "slow", Domains: []string{"*"}, Rules: []route.Rule{rule}}),
	}})
	for _, c := range []struct {
		host, contentType, grpcTimeout string
		status                         int
		grpcStatus                     string
	}{
		{"quick", "", "", http.StatusOK, ""},
		{"slow", "", "", http.StatusGatewayTimeout, ""},
		{"slow", "application/grpc", "", http.StatusOK, "14"},
		{"slow", "application/grpc", "9S", http.StatusOK, "14"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = c.host
		if c.contentType != "" {
			req.Header.Set("Content-Type", c.contentType)
		}
		if c.grpcTimeout != "" {
			req.Header.Set("Grpc-Timeout", c.grpcTimeout)
		}
		client := &http.Client{Timeout: 5 * time.Second}
		res, err := client.Do(req)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		_ = res.Body.Close()
		if got := res.Header.Get("Grpc-Status"); res.StatusCode != c.status || got != c.grpcStatus {
			t.Errorf("%+v: status %d, gRPC status %q", c, res.StatusCode, got)
		}
	}
}
