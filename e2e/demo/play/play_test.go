package play

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/e2e/demo/journey"
)

func TestParseCurl(t *testing.T) {
	for _, tt := range []struct {
		name, out string
		want      answer
	}{
		{"body", "a\nb\n\n200 0.004211", answer{status: 200, took: 4211 * time.Microsecond, body: "a\nb\n"}},
		{"no body", "\n404 0.5", answer{status: 404, took: 500 * time.Millisecond}},
	} {
		got, err := parseCurl(tt.out)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(answer{})); diff != "" {
			t.Errorf("%s: parseCurl(%q) differs (-want +got):\n%s", tt.name, tt.out, diff)
		}
	}
	for _, out := range []string{"", "200 0.1", "\nabc 0.1", "\n200", "\n200 soon"} {
		if got, err := parseCurl(out); err == nil {
			t.Errorf("parseCurl(%q) = %+v; want an error", out, got)
		}
	}
}

const headers = `{"headers": {"Host": ["httpbin:8000"], "X-Forwarded-Client-Cert": [` +
	`"By=spiffe://cluster.local/ns/default/sa/httpbin;Hash=ab;Subject=\"\";URI=spiffe://cluster.local/ns/default/sa/sleep"]}}`

func TestIdentities(t *testing.T) {
	got, ok := identities(headers)
	want := journey.Identities{Client: "spiffe://cluster.local/ns/default/sa/sleep", Server: "spiffe://cluster.local/ns/default/sa/httpbin"}
	if !ok || got != want {
		t.Errorf("identities = %+v, %v; want %+v", got, ok, want)
	}
	for _, body := range []string{"", "no json", `{"headers": {}}`, `{"headers": {"X-Forwarded-Client-Cert": ["Hash=ab"]}}`} {
		if got, ok := identities(body); ok {
			t.Errorf("identities(%q) = %+v; want none", body, got)
		}
	}
}

func TestJudge(t *testing.T) {
	demoapp := "iKubernetes demoapp v1.0 !! ClientIP: 127.0.0.6, ServerName: demoappv10-a, ServerIP: 10.244.0.15!\n"
	egress := director{pods: []journey.Pod{{Namespace: "istio-system", App: "istio-egressgateway", Address: "10.244.0.6"}}}
	local := inside("http://demoappv10:8080/", "", clientIs("127.0.0.6"))
	gateway := (&director{gateway: "172.18.255.1"}).outside("demoapp.magedu.com", "/", 404, "")
	for _, tt := range []struct {
		name   string
		call   call
		answer answer
		wrong  string // part of the error; empty for none
	}{
		{"right", local, answer{status: 200, body: demoapp}, ""},
		{"status", local, answer{status: 503, body: demoapp}, "status 503, want 200"},
		{"another client", local, answer{status: 200, body: strings.Replace(demoapp, "127.0.0.6", "10.244.0.9", 1)}, "another client"},
		{"no answer", local, answer{status: 200}, "another client"},
		{"gateway", gateway, answer{status: 404, server: "istio-envoy"}, ""},
		{"not a gateway", gateway, answer{status: 404, server: "nginx"}, `"nginx"`},
		{"anonymous", call{status: 200, check: anonymous}, answer{status: 200, body: `{"headers": {}}`}, ""},
		{"not anonymous", call{status: 200, check: anonymous}, answer{status: 200, body: headers}, "client certificate"},
		{"version", call{status: 200, check: says("Version: v1.1")}, answer{status: 200, body: "Version: v1.1\n"}, ""},
		{"other version", call{status: 200, check: says("Version: v1.1")}, answer{status: 200, body: "Version: v1.0\n"}, "v1.1"},
		{"around the gateway", call{status: 200, check: egress.fromEgress}, answer{status: 200, body: demoapp}, "10.244.0.6"},
		{"no gateway", call{status: 200, check: (&director{}).fromEgress}, answer{status: 200, body: demoapp}, "no running pod"},
	} {
		_, err := tt.call.judge(tt.answer)
		switch {
		case tt.wrong == "" && err != nil:
			t.Errorf("%s: judge: %v; want no error", tt.name, err)
		case tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)):
			t.Errorf("%s: judge: %v; want an error with %q", tt.name, err, tt.wrong)
		}
	}
}

func TestClosing(t *testing.T) {
	e := ending{total: "41s", requests: 9, kubeconfig: "/cache/kubeconfig", bin: "/cache/bin", gateway: "172.18.255.1", remove: "make demo-down"}
	good := closing(e)
	for _, want := range []string{
		"✓ All 9 requests", "41s", "export KUBECONFIG=/cache/kubeconfig", "export PATH=/cache/bin:$PATH",
		"http://172.18.255.1/status/418", "make demo-down",
	} {
		if !strings.Contains(good, want) {
			t.Errorf("closing lacks %q:\n%s", want, good)
		}
	}
	e.failed = []string{"GET http://a/"}
	if bad := closing(e); !strings.Contains(bad, "✗ 1 of 9 requests") || !strings.Contains(bad, "logs deploy/istiod") {
		t.Errorf("closing of a failed run:\n%s", bad)
	}
}
