package agent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	miekg "github.com/miekg/dns"
	"google.golang.org/protobuf/proto"

	"github.com/sluicemesh/sluice/agent/internal/envoytest"
	"github.com/sluicemesh/sluice/agent/relay/store"
	"github.com/sluicemesh/sluice/internal/nametable"
)

// resolve asks the agent for the IPv4 addresses of a name.
func resolve(t *testing.T, port uint16, name string) (code string, ips []string) {
	t.Helper()
	m := (&miekg.Msg{}).SetQuestion(miekg.Fqdn(name), miekg.TypeA)
	in, _, err := (&miekg.Client{Timeout: 5 * time.Second}).ExchangeContext(t.Context(), m, "127.0.0.1:"+text(port))
	if err != nil {
		t.Fatal(err)
	}
	for _, rr := range in.Answer {
		if a, ok := rr.(*miekg.A); ok {
			ips = append(ips, a.A.String())
		}
	}
	return miekg.RcodeToString[in.Rcode], ips
}

func untilResolved(t *testing.T, port uint16, name, want string) {
	t.Helper()
	envoytest.Until(t, name+" is "+want, func() error {
		if code, ips := resolve(t, port, name); fmt.Sprint(code, ips) != want {
			return fmt.Errorf("%s %v", code, ips)
		}
		return nil
	})
}

func webEntry(ip string) []byte {
	return nametable.Append(nil, nametable.Entry{
		Host: "web.b.svc.cluster.local", Addresses: []string{ip}, Registry: nametable.Kubernetes, ShortName: "web", Namespace: "b",
	})
}

func TestNamesFromTableToAnswer(t *testing.T) {
	port := envoytest.FreePort(t)
	p := newPod(t, "ISTIO_META_DNS_CAPTURE=true", "DNS_PROXY_ADDR=127.0.0.1:"+text(port))
	p.plane.Set(t, store.Listener, map[string]proto.Message{})
	p.untilStatus("the control plane answers", p.url(p.admin, "/ready"), http.StatusOK)

	// The plane answers a type that it holds nothing of at once: the table is empty, and known.
	p.untilStatus("ready with an empty table", p.url(p.status, "/healthz/ready"), http.StatusOK)
	if code, ips := resolve(t, port, "web"); code != "SERVFAIL" || ips != nil {
		t.Errorf("without name servers: %s %v", code, ips)
	}
	p.plane.SetBytes(nametable.Type, map[string][]byte{"web.b.svc.cluster.local": webEntry("10.96.0.1")})
	untilResolved(t, port, "web", "NOERROR[10.96.0.1]")

	p.plane.Stop()
	untilResolved(t, port, "web.b", "NOERROR[10.96.0.1]")
	before := len(p.plane.Requests())
	p.plane.Start(t)
	envoytest.Until(t, "the agent says what it holds", func() error {
		asked := func(r *discoveryv3.DeltaDiscoveryRequest) bool {
			return r.GetTypeUrl() == nametable.Type && r.GetInitialResourceVersions()["web.b.svc.cluster.local"] != ""
		}
		if !slices.ContainsFunc(p.plane.Requests()[before:], asked) {
			return errors.New("not asked for again")
		}
		return nil
	})
	p.plane.SetBytes(nametable.Type, map[string][]byte{"web.b.svc.cluster.local": webEntry("10.96.0.2")})
	untilResolved(t, port, "web", "NOERROR[10.96.0.2]")
	p.rejectsTable()
	untilResolved(t, port, "web", "NOERROR[10.96.0.2]")
	p.showsTable()
	p.plane.Remove(nametable.Type, "web.b.svc.cluster.local")
	untilResolved(t, port, "web", "SERVFAIL[]")
}

// rejectsTable sends bytes that are no table and waits for the rejection.
func (p *pod) rejectsTable() {
	p.t.Helper()
	p.plane.SetBytes(nametable.Type, map[string][]byte{"bad": {0x0a}})
	envoytest.Until(p.t, "the rejection", func() error {
		rejected := func(r *discoveryv3.DeltaDiscoveryRequest) bool {
			return r.GetTypeUrl() == nametable.Type && strings.Contains(r.GetErrorDetail().GetMessage(), "no message")
		}
		if !slices.ContainsFunc(p.plane.Requests(), rejected) {
			return errors.New("not rejected")
		}
		return nil
	})
	p.plane.Remove(nametable.Type, "bad")
}

// showsTable compares the page and the metrics with what is there.
func (p *pod) showsTable() {
	p.t.Helper()
	_, body, err := p.do(http.MethodGet, p.url(p.status, "/debug/ndsz"))
	if err != nil {
		p.t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		p.t.Fatalf("%v in %s", err, body)
	}
	want := map[string]any{"table": map[string]any{"web.b.svc.cluster.local": map[string]any{
		"ips": []any{"10.96.0.2"}, "registry": "Kubernetes", "shortname": "web", "namespace": "b",
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		p.t.Error(diff)
	}
	_, body, err = p.do(http.MethodGet, p.url(p.status, "/stats/prometheus"))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, want := range []string{
		"istio_agent_dns_requests_total ", "istio_agent_dns_upstream_requests_total 1\n", "istio_agent_dns_upstream_failures_total 0\n",
		"istio_agent_dns_upstream_request_duration_seconds_count 1\n",
	} {
		if !strings.Contains(body, want) {
			p.t.Errorf("metrics lack %q", want)
		}
	}
}

// TestNotReadyWithoutTable: Envoy has everything, the agent does not.
func TestNotReadyWithoutTable(t *testing.T) {
	port := envoytest.FreePort(t)
	p := newPod(t, "ISTIO_META_DNS_CAPTURE=true", "DNS_PROXY_ADDR=127.0.0.1:"+text(port))
	p.plane.Mute(nametable.Type, true)
	p.plane.Set(t, store.Listener, map[string]proto.Message{})
	envoytest.Until(t, "only the table is missing", func() error {
		code, body, err := p.do(http.MethodGet, p.url(p.status, "/healthz/ready"))
		if err != nil || code != http.StatusServiceUnavailable || !strings.Contains(body, "table of host names") {
			return fmt.Errorf("%d %s %v", code, body, err)
		}
		return nil
	})
	if code, ips := resolve(t, port, "web"); code != "SERVFAIL" || ips != nil {
		t.Errorf("without a table: %s %v", code, ips)
	}
	p.plane.Mute(nametable.Type, false)
	p.untilStatus("ready", p.url(p.status, "/healthz/ready"), http.StatusOK)
}
