package routetable

import (
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

func encode(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestJoinIsTheWholeTable(t *testing.T) {
	a := &routev3.VirtualHost{Name: "a.default.svc.cluster.local:80", Domains: []string{"a", "a.default"}}
	b := &routev3.VirtualHost{Name: "allow_any", Domains: []string{"*"}, IncludeRequestAttemptCount: true}
	shell := &routev3.RouteConfiguration{Name: "80", MaxDirectResponseBodySizeBytes: nil, IgnorePortInHostMatching: true}
	want := &routev3.RouteConfiguration{Name: "80", IgnorePortInHostMatching: true, VirtualHosts: []*routev3.VirtualHost{
		{Name: "a.default.svc.cluster.local:80", Domains: []string{"a", "a.default"}},
		{Name: "allow_any", Domains: []string{"*"}, IncludeRequestAttemptCount: true},
	}}
	var got routev3.RouteConfiguration
	if err := proto.Unmarshal(Join(encode(t, shell), [][]byte{encode(t, a), encode(t, b)}), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestJoinAllocatesOnce(t *testing.T) {
	shell, host := []byte{10, 1, 'r'}, make([]byte, 300)
	hosts := [][]byte{host, host, host}
	if n := testing.AllocsPerRun(10, func() { Join(shell, hosts) }); n != 1 {
		t.Errorf("Join allocates %v times, want 1", n)
	}
}

func TestHostName(t *testing.T) {
	for _, c := range []struct{ route, host, name string }{
		{"8080", "a.b.svc.cluster.local:8080", "8080/a.b.svc.cluster.local:8080"},
		{"http.8080", "blackhole:8080", "http.8080/blackhole:8080"},
		{"unix:///run/x.sock", "allow_any", "unix:///run/x.sock/allow_any"},
	} {
		if got := HostName(c.route, c.host); got != c.name {
			t.Errorf("HostName(%q, %q) = %q, want %q", c.route, c.host, got, c.name)
		}
		route, host, ok := SplitHostName(c.name)
		if route != c.route || host != c.host || !ok {
			t.Errorf("SplitHostName(%q) = %q, %q, %v", c.name, route, host, ok)
		}
	}
	if _, _, ok := SplitHostName("8080"); ok {
		t.Error(`SplitHostName("8080") is ok`)
	}
}
