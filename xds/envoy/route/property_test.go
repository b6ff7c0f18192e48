package route

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sluicemesh/sluice/xds/envoy"
	"github.com/sluicemesh/sluice/xds/ir"
)

// No host has a name twice, in whatever case, and each has its full name first.
func TestEveryDomainOnce(t *testing.T) {
	labels := []string{"a", "A", "b", "svc", "default", "cluster", "local", "com"}
	for seed := range uint64(5000) {
		r := rand.New(rand.NewPCG(seed, 4))
		parts := make([]string, 1+r.IntN(6))
		for i := range parts {
			parts[i] = labels[r.IntN(len(labels))]
		}
		h := Host{Name: strings.Join(parts, "."), Headless: r.IntN(2) == 0}
		got := Domains(h, Client{Namespace: "default", DNSDomain: "svc.cluster.local"})
		seen := map[string]bool{}
		for _, d := range got {
			key := strings.ToLower(d)
			if d == "" || strings.HasPrefix(d, ".") || seen[key] {
				t.Fatalf("Domains(%+v) = %q", h, got)
			}
			seen[key] = true
		}
		if got[0] != h.Name {
			t.Fatalf("Domains(%+v) = %q", h, got)
		}
	}
}

// A route list ends with its first catch-all, and weights never add up to zero.
func TestEveryVirtualHost(t *testing.T) {
	for seed := range uint64(5000) {
		r := rand.New(rand.NewPCG(seed, 5))
		v := randomHost(r)
		vh := Build(v)
		for i, route := range vh.Routes {
			all := v.Rules[i].Route.Match.CatchAll()
			if all && i != len(vh.Routes)-1 {
				t.Fatalf("seed %d: routes follow the catch-all %d", seed, i)
			}
			if w := route.GetRoute().GetWeightedClusters(); w != nil {
				for _, c := range w.Clusters {
					if c.GetWeight().GetValue() == 0 {
						t.Fatalf("seed %d: a destination of weight 0", seed)
					}
				}
			}
		}
		a := envoy.Encode(envoy.VirtualHostType, v.Name, vh)
		if b := envoy.Encode(envoy.VirtualHostType, v.Name, Build(v)); a.Version != b.Version {
			t.Fatalf("seed %d: the same input gives other bytes", seed)
		}
	}
}

func randomHost(r *rand.Rand) VirtualHost {
	v := VirtualHost{Name: "h:80", Domains: []string{"h"}, Port: 80}
	for range 1 + r.IntN(4) {
		rule := Rule{}
		if r.IntN(3) > 0 {
			rule.Route.Match.URI = &ir.StringMatch{Prefix: fmt.Sprintf("/%d", r.IntN(3))}
		}
		for range 1 + r.IntN(3) {
			rule.Route.Backends = append(rule.Route.Backends, ir.Backend{Weight: r.Uint32N(3)})
			rule.Targets = append(rule.Targets, Target{Cluster: fmt.Sprintf("outbound|80||h%d", r.IntN(3)), ALPN: 1})
		}
		v.Rules = append(v.Rules, rule)
	}
	return v
}

func BenchmarkDefault(b *testing.B) {
	v := VirtualHost{
		Name: "reviews.default.svc.cluster.local:9080", Port: 9080,
		Domains: []string{"reviews.default.svc.cluster.local", "reviews.default.svc.cluster.local.", "reviews", "reviews.default.svc", "reviews.default", "10.96.0.10"},
	}
	b.ReportAllocs()
	for b.Loop() {
		envoy.Encode(envoy.VirtualHostType, v.Name, Default(v, Target{Cluster: "outbound|9080||reviews.default.svc.cluster.local"}))
	}
}

func BenchmarkBuild(b *testing.B) {
	rule := Rule{Targets: []Target{{Cluster: "outbound|9080|v1|reviews"}, {Cluster: "outbound|9080|v2|reviews"}}}
	rule.Route.Backends = []ir.Backend{{Weight: 90}, {Weight: 10}}
	v := VirtualHost{Name: "reviews.default.svc.cluster.local:9080", Port: 9080, Domains: []string{"reviews"}, Rules: []Rule{rule}}
	b.ReportAllocs()
	for b.Loop() {
		envoy.Encode(envoy.VirtualHostType, v.Name, Build(v))
	}
}

func BenchmarkDomains(b *testing.B) {
	h, c := Host{Name: "reviews.default.svc.cluster.local"}, Client{Namespace: "default", DNSDomain: "svc.cluster.local"}
	b.ReportAllocs()
	for b.Loop() {
		Domains(h, c)
	}
}
