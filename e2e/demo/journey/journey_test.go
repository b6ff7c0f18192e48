package journey_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/e2e/demo/accesslog"
	"github.com/sluicemesh/sluice/e2e/demo/journey"
)

var (
	sleep   = journey.Pod{Namespace: "default", Name: "sleep-1", App: "sleep", Address: "10.0.0.1", Proxy: "p"}
	httpbin = journey.Pod{Namespace: "default", Name: "httpbin-1", App: "httpbin", Address: "10.0.0.2", Proxy: "p"}
	plain   = journey.Pod{Namespace: "default", Name: "plain-1", App: "plain", Address: "10.0.0.3"}
	node    = journey.Pod{Namespace: "kube-system", Name: "node-1", App: "node"}
)

// follow follows a request of sleep over the given logs, by pod name.
func follow(logs map[string][]accesslog.Entry) (journey.Journey, error) {
	start := journey.Start{Client: sleep, Mark: "m", First: []journey.Pod{sleep}}
	return journey.Follow(start, []journey.Pod{node, sleep, httpbin, plain}, func(p journey.Pod) ([]accesslog.Entry, error) {
		return logs[p.Name], nil
	})
}

func TestFollow(t *testing.T) {
	out := accesslog.Entry{UserAgent: "m", RequestID: "r", UpstreamHost: "10.0.0.2:80", UpstreamCluster: "outbound|80||httpbin"}
	in := accesslog.Entry{RequestID: "r", UpstreamHost: "10.0.0.2:8080", UpstreamCluster: "inbound|8080||", ServerName: "outbound_.80_._.httpbin"}
	toPlain, toOther, passed := out, out, in
	toPlain.UpstreamHost, toOther.UpstreamHost, toOther.Authority = "10.0.0.3:80", "[2001:db8::1]:80", "example.com"
	passed.UpstreamCluster, passed.ServerName = "InboundPassthroughCluster", "example.com"
	refused := accesslog.Entry{RequestID: "r", Status: 403, ServerName: "outbound_.80_._.httpbin"}
	for _, tt := range []struct {
		name string
		logs map[string][]accesslog.Entry
		want string
	}{
		{"mutual tls", map[string][]accesslog.Entry{"sleep-1": {out}, "httpbin-1": {in}}, "sleep > proxy = proxy > httpbin"},
		{"last try counts", map[string][]accesslog.Entry{"sleep-1": {toPlain, out}, "httpbin-1": {in}}, "sleep > proxy = proxy > httpbin"},
		{"own tls", map[string][]accesslog.Entry{"sleep-1": {out}, "httpbin-1": {passed}}, "sleep > proxy + proxy > httpbin"},
		{"refused there", map[string][]accesslog.Entry{"sleep-1": {out}, "httpbin-1": {refused}}, "sleep > proxy = proxy"},
		{"pod without proxy", map[string][]accesslog.Entry{"sleep-1": {toPlain}}, "sleep > proxy - plain"},
		{"out of the cluster", map[string][]accesslog.Entry{"sleep-1": {toOther}}, "sleep > proxy - example.com"},
	} {
		j, err := follow(tt.logs)
		if err != nil || j.Shape() != tt.want {
			t.Errorf("%s: Follow = %q, %v; want %q", tt.name, j.Shape(), err, tt.want)
		}
	}
}

// TestFollowThroughGateway: the gateway gives the request another id.
func TestFollowThroughGateway(t *testing.T) {
	gateway := journey.Pod{Namespace: "istio-system", Name: "gw-1", App: "gw", Address: "10.0.0.4", Proxy: "p", Gateway: true}
	logs := map[string][]accesslog.Entry{
		"sleep-1": {{UserAgent: "m", RequestID: "r", UpstreamHost: "10.0.0.4:80", UpstreamCluster: "outbound|80||gw"}},
		"gw-1": {
			{UserAgent: "m", RequestID: "s", UpstreamHost: "10.0.0.2:80", UpstreamCluster: "outbound|80||httpbin"},
			{UserAgent: "other", RequestID: "t", UpstreamHost: "10.0.0.3:80"},
		},
		"httpbin-1": {{UserAgent: "m", RequestID: "s", UpstreamHost: "10.0.0.2:8080", UpstreamCluster: "inbound|8080||"}},
	}
	start := journey.Start{Client: sleep, Mark: "m", First: []journey.Pod{sleep}}
	j, err := journey.Follow(start, []journey.Pod{sleep, httpbin, gateway}, func(p journey.Pod) ([]accesslog.Entry, error) { return logs[p.Name], nil })
	if want := "sleep > proxy - gw - proxy > httpbin"; err != nil || j.Shape() != want {
		t.Errorf("Follow = %q, %v; want %q", j.Shape(), err, want)
	}
}

func TestFollowWaits(t *testing.T) {
	out := accesslog.Entry{UserAgent: "m", RequestID: "r", UpstreamHost: "10.0.0.2:80"}
	foreign := accesslog.Entry{UserAgent: "x", RequestID: "other", UpstreamHost: "10.0.0.2:80", UpstreamCluster: "inbound|80||"}
	for name, logs := range map[string]map[string][]accesslog.Entry{
		"nothing":      {},
		"another's":    {"sleep-1": {foreign}},
		"first only":   {"sleep-1": {out}},
		"second other": {"sleep-1": {out}, "httpbin-1": {foreign}},
	} {
		if j, err := follow(logs); !errors.Is(err, journey.ErrNotLogged) {
			t.Errorf("%s: Follow = %q, %v; want ErrNotLogged", name, j.Shape(), err)
		}
	}
}

func TestFollowEnds(t *testing.T) {
	a := journey.Pod{Namespace: "n", Name: "a", App: "a", Address: "10.0.0.1", Proxy: "p", Gateway: true}
	loop := []accesslog.Entry{{UserAgent: "m", RequestID: "r", UpstreamHost: "10.0.0.1:80"}}
	_, err := journey.Follow(journey.Start{Mark: "m", First: []journey.Pod{a}}, []journey.Pod{a},
		func(journey.Pod) ([]accesslog.Entry, error) { return loop, nil })
	if err == nil || !strings.Contains(err.Error(), "request r passed more than 8 proxies") {
		t.Errorf("a request in a circle: %v", err)
	}
	broken := errors.New("no log")
	_, err = journey.Follow(journey.Start{Mark: "m", First: []journey.Pod{a}}, nil,
		func(journey.Pod) ([]accesslog.Entry, error) { return nil, broken })
	if !errors.Is(err, broken) {
		t.Errorf("a log that cannot be read: %v, want %v", err, broken)
	}
}

func TestParseForwarded(t *testing.T) {
	const two = `By=spiffe://td/ns/a/sa/gw;URI=spiffe://td/ns/x/sa/y,By=spiffe://td/ns/b/sa/server;Hash=1;Subject="";URI="spiffe://td/ns/a/sa/gw"`
	got, ok := journey.ParseForwarded(two)
	want := journey.Identities{Client: "spiffe://td/ns/a/sa/gw", Server: "spiffe://td/ns/b/sa/server"}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("ParseForwarded: %v (-want +got):\n%s", ok, diff)
	}
	for _, header := range []string{"", "Hash=1", "URI=spiffe://td/ns/a/sa/b", "By=a;URI=b,Hash=2"} {
		if got, ok := journey.ParseForwarded(header); ok {
			t.Errorf("ParseForwarded(%q) = %+v; want none", header, got)
		}
	}
}

func TestParsePodsRefuses(t *testing.T) {
	if pods, err := journey.ParsePods([]byte("no resources found")); err == nil {
		t.Errorf("ParsePods = %v; want an error", pods)
	}
}
