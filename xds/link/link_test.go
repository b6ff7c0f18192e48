package link_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/ir"
	"github.com/sluicemesh/sluice/xds/link"
)

// from is the origin of an object created at minute age.
func from(ns, name string, age int) problem.Origin {
	return problem.Origin{Kind: "Test", Namespace: ns, Name: name, Created: time.Unix(int64(60*age), 0)}
}

func service(ns, host string, age int, r ir.Registry, v ir.Visibility) *ir.Service {
	return &ir.Service{ID: ir.ServiceID{Namespace: ns, Host: host}, Registry: r, ExportTo: v, From: from(ns, host, age)}
}

func TestService(t *testing.T) {
	private := ir.Visibility{Private: true}
	h := link.NewHost("h", []*ir.Service{
		service("old", "h", 1, ir.External, ir.Visibility{}),
		service("kube", "h", 3, ir.Kubernetes, ir.Visibility{}),
		service("own", "h", 9, ir.External, private),
		service("own", "h", 10, ir.External, ir.Visibility{}), // same ID, younger: hidden
	}, nil)
	for client, want := range map[string]string{"own": "own", "old": "old", "else": "kube", "kube": "kube"} {
		if got := h.Service(client).ID.Namespace; got != want {
			t.Errorf("Service(%s) = %s, want %s", client, got, want)
		}
	}
	if len(h.Services) != 3 {
		t.Errorf("%d services, want 3: one per namespace", len(h.Services))
	}
	hidden := link.NewHost("h", []*ir.Service{service("own", "h", 1, ir.External, private)}, nil)
	if got := hidden.Service("else"); got != nil {
		t.Errorf("Service(else) = %v, want none", got)
	}
}

func rule(ns, name, host string, age int, v ir.Visibility) *link.Rule {
	r := ir.DestinationRule{Namespace: ns, Name: name, Host: host, ExportTo: v, From: from(ns, name, age)}
	return &link.Rule{DestinationRule: r, Origins: []problem.Origin{r.From}}
}

func TestRule(t *testing.T) {
	private := ir.Visibility{Private: true}
	svc := service("svc", "a.example.com", 1, ir.Kubernetes, ir.Visibility{})
	exact := &link.Claims{Rules: []*link.Rule{
		rule("svc", "svc-private", "a.example.com", 1, private),
		rule("svc", "svc-public", "a.example.com", 2, ir.Visibility{}),
		rule("root", "root-private", "a.example.com", 1, private),
	}}
	wild := &link.Claims{Rules: []*link.Rule{
		rule("client", "client-wild", "*.example.com", 1, ir.Visibility{}),
		rule("root", "root-wild", "*.example.com", 1, ir.Visibility{}),
	}}
	h := link.NewHost("a.example.com", []*ir.Service{svc}, []*link.Claims{exact, nil, wild})
	for client, want := range map[string]string{
		"client": "client-wild", // its own namespace first, however vague
		"other":  "svc-public",  // the service's namespace, visible
		"svc":    "svc-private",
		"root":   "root-private",
	} {
		if got := h.Rule(client, "root", svc); got == nil || got.Name != want {
			t.Errorf("Rule(%s) = %v, want %s", client, got, want)
		}
	}
	if got := h.Rule("other", "root", nil); got == nil || got.Name != "root-wild" {
		t.Errorf("Rule(other) without service = %v, want root-wild", got)
	}
}

func TestMergeRules(t *testing.T) {
	random, robin := ir.TrafficPolicy{LoadBalancer: ir.Random}, ir.TrafficPolicy{LoadBalancer: ir.RoundRobin}
	disable := ir.TrafficPolicy{TLS: ir.DisableTLS}
	a := &ir.DestinationRule{Namespace: "n", Name: "a", Subsets: []ir.Subset{{Name: "v1"}}, From: from("n", "a", 1)}
	b := &ir.DestinationRule{
		Namespace: "n", Name: "b", From: from("n", "b", 2), Policy: ir.PolicySet{Default: &random, Ports: map[uint16]ir.TrafficPolicy{90: disable}},
		Subsets: []ir.Subset{{Name: "v1", Labels: ir.Labels{"late=yes"}}, {Name: "v2", Policy: ir.PolicySet{Default: &robin}}},
	}
	c := &ir.DestinationRule{Namespace: "n", Name: "c", From: from("n", "c", 3), Policy: ir.PolicySet{Default: &robin}}
	d := &ir.DestinationRule{Namespace: "n", Name: "d", From: from("n", "d", 4), ExportTo: ir.Visibility{Private: true}}
	merged, problems := link.MergeRules([]*ir.DestinationRule{a, b, c, d})
	if len(merged) != 2 || len(merged[0].Origins) != 3 || merged[1].Name != "d" {
		t.Fatalf("merged = %v", merged)
	}
	if len(a.Subsets) != 1 {
		t.Error("merging changed an object")
	}
	m := merged[0]
	for _, x := range []struct {
		subset string
		port   uint16
		want   ir.TrafficPolicy
	}{{"", 80, random}, {"", 90, disable}, {"v1", 80, random}, {"v2", 80, robin}, {"v2", 90, robin}, {"gone", 80, random}} {
		if diff := cmp.Diff(x.want, m.For(x.subset, x.port)); diff != "" {
			t.Errorf("For(%q, %d): %s", x.subset, x.port, diff)
		}
	}
	if s, _ := m.Subset("v1"); len(s.Labels) != 0 {
		t.Error("the younger of two subsets counts")
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Name+" "+p.Path)
	}
	if diff := cmp.Diff([]string{"b spec.subsets", "c spec.trafficPolicy"}, got); diff != "" {
		t.Error(diff)
	}
	var none *link.Rule
	if diff := cmp.Diff(ir.TrafficPolicy{}, none.For("x", 1)); diff != "" {
		t.Errorf("no rule has a policy: %s", diff)
	}
}

func TestWildcards(t *testing.T) {
	for name, want := range map[string][]string{
		"a.b.c": {"*.b.c", "*.c", "*"}, "*.b.c": {"*.c", "*"}, "single": {"*"}, "*": nil,
	} {
		if diff := cmp.Diff(want, link.Wildcards(name)); diff != "" {
			t.Errorf("Wildcards(%s): %s", name, diff)
		}
	}
	for _, c := range []struct {
		pattern, host string
		want          bool
	}{
		{"a.b", "a.b", true}, {"*", "a", true}, {"*.b", "a.b", true}, {"*.b", "x.a.b", true}, {"*.b", "b", false},
		{"*.b", "*.a.b", true}, {"*.a.b", "*.b", false}, {"a.b", "*.b", false}, {"*.b", "ab", false},
	} {
		if got := link.Covers(c.pattern, c.host); got != c.want {
			t.Errorf("Covers(%s, %s) = %v", c.pattern, c.host, got)
		}
	}
}

func TestRoute(t *testing.T) {
	vs := func(name string, age int, v ir.Visibility, hosts ...string) *ir.VirtualService {
		return &ir.VirtualService{Namespace: "n", Name: name, Hosts: hosts, ExportTo: v, From: from("n", name, age)}
	}
	exact := &link.Claims{Routes: []*ir.VirtualService{
		vs("hidden", 1, ir.Visibility{Private: true}, "a.b.c"), vs("older", 2, ir.Visibility{}, "a.b.c"), vs("younger", 3, ir.Visibility{}, "a.b.c"),
	}}
	wild := &link.Claims{Routes: []*ir.VirtualService{vs("wild", 0, ir.Visibility{}, "*.b.c")}}
	h := link.NewHost("a.b.c", nil, []*link.Claims{exact, wild})
	if got := h.Route("n").Name; got != "hidden" {
		t.Errorf("Route(n) = %s", got)
	}
	if got := h.Route("else").Name; got != "older" {
		t.Errorf("Route(else) = %s", got)
	}
	if h := link.NewHost("a.b.c", nil, []*link.Claims{nil, wild}); h != nil {
		t.Errorf("a wildcard alone makes host %v", h)
	}
}

func TestResolve(t *testing.T) {
	one := service("n", "one", 1, ir.Kubernetes, ir.Visibility{})
	one.Ports = []ir.Port{{Number: 8000, Protocol: ir.HTTP}, {Number: 53, Protocol: ir.UDP}}
	two := service("n", "two", 1, ir.Kubernetes, ir.Visibility{})
	two.Ports = []ir.Port{{Number: 80, Protocol: ir.HTTP}, {Number: 90, Protocol: ir.TCP}}
	host := func(s *ir.Service) *link.Host { return link.NewHost(s.ID.Host, []*ir.Service{s}, nil) }
	for name, c := range map[string]struct {
		host           *link.Host
		port, listener uint16
		want           uint16
		protocol       ir.Protocol
	}{
		"only port":       {host(one), 0, 80, 8000, ir.HTTP},
		"listener's port": {host(two), 0, 90, 90, ir.TCP},
		"named port":      {host(two), 80, 90, 80, ir.HTTP},
		"unknown port":    {host(two), 81, 90, 81, ir.Auto},
		"unknown host":    {nil, 0, 90, 90, ir.Auto},
	} {
		got := link.Resolve(c.host, c.port, c.listener, "n", "root")
		if got.Port.Number != c.want || got.Port.Protocol != c.protocol {
			t.Errorf("%s: %+v", name, got.Port)
		}
	}
}

func TestRules(t *testing.T) {
	v := &ir.VirtualService{HTTP: []ir.Route{
		{Name: "gateway", Source: ir.SourceMatch{Gateways: []string{"n/gw"}}},
		{Name: "port", Source: ir.SourceMatch{Port: 81}},
		{Name: "namespace", Source: ir.SourceMatch{Namespace: "other"}},
		{Name: "labels", Source: ir.SourceMatch{Labels: ir.Labels{"app=a"}}},
		{Name: "prefix", Match: ir.Match{URI: &ir.StringMatch{Prefix: "/x"}}},
		{Name: "all"},
		{Name: "never"},
	}}
	for name, c := range map[string]struct {
		source link.Source
		want   []int
		labels bool
	}{
		"mesh":      {link.Source{Gateway: "mesh", Port: 80, Namespace: "n"}, []int{4, 5}, true},
		"labels":    {link.Source{Gateway: "mesh", Port: 80, Namespace: "n", Labels: ir.Labels{"app=a", "x=y"}}, []int{3, 4, 5}, true},
		"port":      {link.Source{Gateway: "mesh", Port: 81, Namespace: "n"}, []int{1}, false},
		"namespace": {link.Source{Gateway: "mesh", Port: 80, Namespace: "other"}, []int{2}, false},
		"gateway":   {link.Source{Gateway: "n/gw", Port: 80, Namespace: "n"}, []int{0}, false},
	} {
		got, labels := c.source.Rules(v)
		if diff := cmp.Diff(c.want, got); diff != "" || labels != c.labels {
			t.Errorf("%s: labels %v, %s", name, labels, diff)
		}
	}
}

func TestPeers(t *testing.T) {
	for name, c := range map[string]struct {
		eps  []ir.Endpoint
		want link.Peers
	}{
		"none":  {nil, link.Peers{}},
		"mesh":  {[]ir.Endpoint{{MeshTLS: true, ServiceAccount: "b"}, {MeshTLS: true, ServiceAccount: "a"}, {MeshTLS: true, ServiceAccount: "b"}}, link.Peers{Identities: []string{"a", "b"}, AllMeshTLS: true}},
		"mixed": {[]ir.Endpoint{{MeshTLS: true, ServiceAccount: "a"}, {ServiceAccount: "plain"}}, link.Peers{Identities: []string{"a"}}},
	} {
		if diff := cmp.Diff(c.want, link.PeersOf(c.eps)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
