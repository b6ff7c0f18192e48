package cluster

import (
	"fmt"
	"math/rand/v2"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"

	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy"
	"github.com/sluicemesh/sluice/xds/ir"
)

// What holds for every cluster, whatever it is made from.
func TestEveryCluster(t *testing.T) {
	for seed := range uint64(5000) {
		r := rand.New(rand.NewPCG(seed, 2))
		o, k := random(r)
		c := BuildOutbound(o, k)
		if c == nil {
			continue
		}
		if UsesEDS(o, k) != (c.GetType() == clusterv3.Cluster_EDS) {
			t.Errorf("seed %d: UsesEDS is %v for type %v", seed, UsesEDS(o, k), c.GetType())
		}
		if MarksPlain(o, k) != (len(c.TransportSocketMatches) > 0) {
			t.Errorf("seed %d: MarksPlain is %v, matches: %v", seed, MarksPlain(o, k), c.TransportSocketMatches)
		}
		if len(c.TransportSocketMatches) > 0 && c.TransportSocket == nil {
			t.Errorf("seed %d: endpoints with a proxy are reached in plain text", seed)
		}
		if o.Policy.TLS == ir.DisableTLS && c.TransportSocket != nil {
			t.Errorf("seed %d: TLS although switched off", seed)
		}
		if (c.GetType() == clusterv3.Cluster_ORIGINAL_DST) != (c.LbPolicy == clusterv3.Cluster_CLUSTER_PROVIDED) {
			t.Errorf("seed %d: type %v with policy %v", seed, c.GetType(), c.LbPolicy)
		}
		a := envoy.Encode(envoy.ClusterType, c.Name, c)
		b := envoy.Encode(envoy.ClusterType, c.Name, BuildOutbound(o, k))
		if a.Version != b.Version {
			t.Errorf("seed %d: the same input gives other bytes", seed)
		}
		if t.Failed() {
			return
		}
	}
}

func random(r *rand.Rand) (Outbound, Key) {
	o := Outbound{
		Service: ir.Service{
			ID: ir.ServiceID{Namespace: "a", Host: "s.a.svc.cluster.local"}, Registry: ir.Registry(r.IntN(2)),
			Resolution: ir.Resolution(r.IntN(4)), MeshExternal: r.IntN(2) == 0,
		},
		Port:       ir.Port{Number: 80, Protocol: ir.Protocol(r.IntN(int(ir.UDP))), Target: 8080},
		Policy:     ir.TrafficPolicy{TLS: ir.TLSMode(r.IntN(5)), LoadBalancer: ir.LoadBalancer(r.IntN(6)), UseClientProto: r.IntN(2) == 0},
		AllMeshTLS: r.IntN(2) == 0,
	}
	for i := range r.IntN(3) {
		o.Endpoints = append(o.Endpoints, ir.Endpoint{Address: fmt.Sprintf("e%d.example.com", i), Port: 80, Weight: 1, MeshTLS: r.IntN(2) == 0})
	}
	k := Key{Families: class.Families(r.IntN(4)), Router: r.IntN(2) == 0, AutoMTLS: r.IntN(2) == 0, TrustDomain: "td"}
	return o, k
}

func BenchmarkBuildOutbound(b *testing.B) {
	o := Outbound{
		Service: ir.Service{ID: ir.ServiceID{Namespace: "default", Host: "reviews.default.svc.cluster.local"}, Name: "reviews"},
		Port:    ir.Port{Number: 9080, Protocol: ir.HTTP},
		Peers:   []string{"spiffe://cluster.local/ns/default/sa/bookinfo-reviews"},
	}
	k := Key{Families: class.IPv4, AutoMTLS: true, TrustDomain: "cluster.local"}
	b.ReportAllocs()
	for b.Loop() {
		c := BuildOutbound(o, k)
		envoy.Encode(envoy.ClusterType, c.Name, c)
	}
}
