package listener

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"

	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy"
	"github.com/sluicemesh/sluice/xds/ir"
)

// What holds for every listener, whatever it is made from.
func TestEveryListener(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		in := random(r)
		for i, l := range in.build() {
			where := fmt.Sprintf("seed %d, listener %s", seed, l.Name)
			chains(t, where, l)
			managers(t, where, l)
			again := envoy.Encode(envoy.ListenerType, l.Name, in.build()[i])
			if first := envoy.Encode(envoy.ListenerType, l.Name, l); first.Version != again.Version {
				t.Errorf("%s: the same input gives other bytes", where)
			}
			if in.Mesh.Outbound == ir.RegistryOnly && l.TrafficDirection.String() == "OUTBOUND" && strings.Contains(l.String(), `"PassthroughCluster"`) {
				t.Errorf("%s: unknown destinations are reached under REGISTRY_ONLY", where)
			}
		}
		if t.Failed() {
			return
		}
	}
}

// chains: matches are pairwise distinct, and there is something to do for every chain.
func chains(t *testing.T, where string, l *listenerv3.Listener) {
	t.Helper()
	seen := map[string]bool{}
	for _, c := range l.FilterChains {
		key, err := proto.MarshalOptions{Deterministic: true}.Marshal(c.GetFilterChainMatch())
		if err != nil {
			t.Fatal(err)
		}
		if seen[string(key)] {
			t.Errorf("%s: two chains match %v", where, c.GetFilterChainMatch())
		}
		seen[string(key)] = true
		if len(c.Filters) == 0 {
			t.Errorf("%s: chain %q does nothing", where, c.Name)
		}
	}
	if seen[""] && l.DefaultFilterChain != nil {
		t.Errorf("%s: a chain for everything hides the default chain", where)
	}
	if len(seen) == 0 {
		t.Errorf("%s: no chain", where)
	}
}

// managers: each connection manager has a table of its own or names one, not both.
func managers(t *testing.T, where string, l *listenerv3.Listener) {
	t.Helper()
	for _, c := range l.FilterChains {
		for _, f := range c.Filters {
			m := &hcmv3.HttpConnectionManager{}
			if !f.GetTypedConfig().MessageIs(m) {
				continue
			}
			if err := f.GetTypedConfig().UnmarshalTo(m); err != nil {
				t.Fatal(err)
			}
			if (m.GetRds() == nil) == (m.GetRouteConfig() == nil) {
				t.Errorf("%s: the connection manager of %q has no table or two", where, c.Name)
			}
			if last := m.HttpFilters[len(m.HttpFilters)-1].Name; last != "envoy.filters.http.router" {
				t.Errorf("%s: the last filter is %s", where, last)
			}
		}
	}
}

// random is a proxy with arbitrary ports.
func random(r *rand.Rand) input {
	in := input{
		Mesh:    ir.Mesh{TrustDomain: "td", OutboundPort: 15001, InboundPort: 15006, Outbound: ir.OutboundMode(r.IntN(2))},
		Class:   class.Class{Families: class.Families(r.IntN(4)), Interception: []string{Redirect, TProxy, None}[r.IntN(3)]},
		Virtual: true,
		Gateway: []Gateway{{Port: 8080, Route: "http.8080"}},
		Inbound: &Inbound{MTLS: MTLS(r.IntN(3))},
	}
	protocols := []ir.Protocol{ir.Auto, ir.TCP, ir.TLS, ir.HTTPS, ir.HTTP, ir.HTTP2, ir.GRPC, ir.GRPCWeb, ir.Mongo, ir.MySQL}
	for port := uint16(1000); port < 1000+uint16(r.IntN(5)); port++ {
		in.Inbound.Ports = append(in.Inbound.Ports, InboundPort{
			Port: port, Protocol: protocols[r.IntN(len(protocols))], MTLS: MTLS(r.IntN(3)), Host: "h", ServicePort: 80,
		})
		in.Outbound = append(in.Outbound, randomOutbound(r, port))
	}
	return in
}

func randomOutbound(r *rand.Rand, port uint16) Outbound {
	o := Outbound{Port: port}
	if r.IntN(2) == 0 {
		o.Addresses = []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(port)})}
	}
	if r.IntN(2) == 0 {
		o.Route = "table"
	}
	cluster := []WeightedCluster{{Name: "c", Weight: 1}}
	for i := range r.IntN(3) {
		o.Streams = append(o.Streams, Stream{SNI: []string{fmt.Sprintf("s%d.example.com", i)}, Clusters: cluster})
	}
	if r.IntN(2) == 0 || o.Route == "" {
		o.Streams = append(o.Streams, Stream{Clusters: cluster})
	}
	return o
}

func BenchmarkVirtualInbound(b *testing.B) {
	in := Inbound{Ports: []InboundPort{{Port: 8080, Protocol: ir.HTTP, Host: "h", ServicePort: 80}}}
	k := Key{Families: class.IPv4, TrustDomain: "cluster.local", OutboundPort: 15001, InboundPort: 15006}
	b.ReportAllocs()
	for b.Loop() {
		l := VirtualInbound(in, k)
		envoy.Encode(envoy.ListenerType, l.Name, l)
	}
}
