package endpoint

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy"
	"github.com/sluicemesh/sluice/xds/ir"
)

// Every endpoint that the key and the subset choose is in exactly one locality, and
// localities weigh what their endpoints do.
func TestEveryAssignment(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 3))
		eps := random(r, r.IntN(30))
		a := Build("c", eps, ir.Labels{"v=1"}, Key{Families: class.IPv4, MarkPlain: true})
		got := map[string]int{}
		for _, l := range a.Endpoints {
			var sum uint32
			for _, e := range l.LbEndpoints {
				got[e.GetEndpoint().GetAddress().GetSocketAddress().GetAddress()]++
				sum += e.GetLoadBalancingWeight().GetValue()
			}
			if sum != l.GetLoadBalancingWeight().GetValue() || sum == 0 {
				t.Errorf("seed %d: locality %v weighs %d, its endpoints %d", seed, l.Locality, l.GetLoadBalancingWeight().GetValue(), sum)
			}
		}
		for _, e := range eps {
			want := 0
			if e.Address[0] == '1' && e.Labels[0] == "v=1" {
				want = 1
			}
			if got[e.Address] != want {
				t.Errorf("seed %d: %s is there %d times, want %d", seed, e.Address, got[e.Address], want)
			}
		}
		if t.Failed() {
			return
		}
	}
}

func random(r *rand.Rand, n int) []ir.Endpoint {
	eps := make([]ir.Endpoint, 0, n)
	for i := range n {
		address := fmt.Sprintf("10.0.%d.%d", i/256, i%256)
		if r.IntN(3) == 0 {
			address = fmt.Sprintf("fd00::%x", i+1)
		}
		eps = append(eps, ir.Endpoint{
			Address: address, Port: 80, Weight: r.Uint32N(4), Health: ir.Health(r.IntN(2)), MeshTLS: r.IntN(2) == 0,
			Labels:   ir.Labels{fmt.Sprintf("v=%d", r.IntN(2))},
			Locality: ir.Locality{Region: fmt.Sprint("r", r.IntN(2)), Zone: fmt.Sprint("z", r.IntN(2))},
		})
	}
	return eps
}

func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{3, 10, 1000} {
		eps := random(rand.New(rand.NewPCG(1, 1)), n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a := Build("outbound|9080||reviews.default.svc.cluster.local", eps, nil, Key{MarkPlain: true})
				envoy.Encode(envoy.EndpointType, a.ClusterName, a)
			}
		})
	}
}
