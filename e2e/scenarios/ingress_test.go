package scenarios

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestGatewayWithoutConfiguration: W4, without a Gateway the ingress gateway listens only
// for health and statistics.
func TestGatewayWithoutConfiguration(t *testing.T) {
	eventually(t, func(ctx context.Context) error {
		out, err := st.Admin(ctx, "istio-system", "deploy/istio-ingressgateway", "GET", "/listeners")
		if err != nil {
			return err
		}
		for line := range strings.Lines(out) {
			line = strings.TrimSpace(line)
			if line != "" && !strings.Contains(line, ":15021") && !strings.Contains(line, ":15090") {
				return fmt.Errorf("unexpected listener %s", line)
			}
		}
		if !strings.Contains(out, ":15021") || !strings.Contains(out, ":15090") {
			return fmt.Errorf("listeners are %s", out)
		}
		return nil
	})
}

// TestDemoappThroughTheGateway: W4, first a Gateway alone, then with a VirtualService.
func TestDemoappThroughTheGateway(t *testing.T) {
	address, host := ingress(t), "demoapp.magedu.com"
	apply(t, "istio-system", "samples/demoapp/gateway.yaml")
	eventually(t, wantStatus(address, host, "/", http.StatusNotFound))
	r, err := get(t.Context(), address, host, "/")
	must(t, err)
	if server := r.header.Get("Server"); server != "istio-envoy" {
		t.Errorf("server %q, want istio-envoy", server)
	}
	apply(t, "default", "samples/demoapp/virtualservice.yaml")
	eventually(t, wantStatus(address, host, "/", http.StatusOK))
	servers := map[string]int{}
	for range 30 {
		r, err := get(t.Context(), address, host, "/")
		must(t, err)
		m := demoappReply.FindStringSubmatch(r.body)
		if m == nil || m[1] != "127.0.0.6" {
			t.Fatalf("answer %q", r.body)
		}
		servers[m[2]]++
	}
	if len(servers) != 3 {
		t.Errorf("30 requests through the gateway were answered by %v, want three servers", servers)
	}
	if r, err := get(t.Context(), address, "other.magedu.com", "/"); err != nil || r.status != http.StatusNotFound {
		t.Errorf("another host answered %d, %v, want 404", r.status, err)
	}
}

// TestHTTPBinThroughTheGateway: W4, two paths are published, the others are not.
func TestHTTPBinThroughTheGateway(t *testing.T) {
	address, host := ingress(t), "httpbin.example.com"
	apply(t, "default", "samples/httpbin/httpbin-gateway.yaml")
	eventually(t, wantStatus(address, host, "/status/200", http.StatusOK))
	r, err := get(t.Context(), address, host, "/status/200")
	must(t, err)
	if r.header.Get("Server") != "istio-envoy" || r.header.Get("X-Envoy-Upstream-Service-Time") == "" {
		t.Errorf("headers %v: want server istio-envoy and x-envoy-upstream-service-time", r.header)
	}
	must(t, wantStatus(address, host, "/1status/200", http.StatusNotFound)(t.Context()))
	must(t, wantStatus(address, host, "/headers", http.StatusNotFound)(t.Context()))
	must(t, wantStatus(address, host, "/status/418", http.StatusTeapot)(t.Context()))
	for _, where := range []string{"-n istio-system -l app=istio-ingressgateway", "-n default -l app=httpbin"} {
		eventually(t, func(ctx context.Context) error {
			args := append(strings.Fields(where), "logs", "-c", "istio-proxy", "--tail=20")
			out, err := st.Kubectl(ctx, args...)
			if err == nil && !strings.Contains(out, `"GET /status/418 HTTP/1.1" 418 `) {
				err = fmt.Errorf("no access-log line of the request at %s:\n%s", where, out)
			}
			return err
		})
	}
}

// TestCanary: W4, 90/10 by weight and everything by header, inside the mesh and through
// the gateway.
func TestCanary(t *testing.T) {
	address, host := ingress(t), "demoapp.magedu.com"
	apply(t, "istio-system", "samples/demoapp/gateway.yaml")
	apply(t, "default", "samples/demoapp/demoappv11.yaml", "samples/demoapp/demoapp.yaml",
		"samples/demoapp/destinationrule-subsets.yaml", "samples/demoapp/virtualservice-canary.yaml")
	must(t, st.Rollout(t.Context(), "default", "deploy/demoappv11"))

	byHeader := func(ctx context.Context) (string, error) {
		r, err := get(ctx, address, host, "/version", "x-canary", "true")
		return r.body, err
	}
	eventually(t, func(ctx context.Context) error {
		body, err := byHeader(ctx)
		if err == nil && !strings.Contains(body, "v1.1") {
			err = fmt.Errorf("answer %q, want v1.1", body)
		}
		return err
	})
	for range 20 {
		if body, err := byHeader(t.Context()); err != nil || !strings.Contains(body, "v1.1") {
			t.Fatalf("with the header %q, %v, want v1.1", body, err)
		}
	}
	canary := 0
	const requests = 400
	for range requests {
		r, err := get(t.Context(), address, host, "/version")
		must(t, err)
		switch {
		case strings.Contains(r.body, "v1.1"):
			canary++
		case !strings.Contains(r.body, "v1.0"):
			t.Fatalf("answer %d %q", r.status, r.body)
		}
	}
	// Binomial with n = 400 and p = 0.1: 12 to 72 is further than five standard deviations.
	if canary < 12 || canary > 72 {
		t.Errorf("%d of %d requests went to the canary, want about 40", canary, requests)
	}
	out, err := st.Curl(t.Context(), "default", "-H", "x-canary: true", "demoapp:8080/version")
	must(t, err)
	if !strings.Contains(out, "v1.1") {
		t.Errorf("inside the mesh, with the header: %q, want v1.1", out)
	}
}
