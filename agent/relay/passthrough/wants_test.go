package passthrough

import (
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

func answer(t *testing.T, typ string, resources ...proto.Message) *discoveryv3.DiscoveryResponse {
	t.Helper()
	out := &discoveryv3.DiscoveryResponse{TypeUrl: typ}
	for _, r := range resources {
		packed, err := anypb.New(r)
		if err != nil {
			t.Fatal(err)
		}
		out.Resources = append(out.Resources, packed)
	}
	return out
}

func TestWants(t *testing.T) {
	w := wants{}
	if !w.ask("l", []string{"a", "b"}) || w.ask("l", []string{"a", "b"}) {
		t.Error("new names are due an answer, and only they")
	}
	w.ask("c", []string{"x"})
	if diff := cmp.Diff([]string{"c", "l"}, w.unanswered()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"b"}, w.answer(answer(t, "l", &listenerv3.Listener{Name: "a"}))); diff != "" {
		t.Error(diff)
	}
	if got := w.answer(answer(t, "l")); got != nil {
		t.Errorf("named again: %v", got)
	}
	if !w.ask("l", []string{"a", "b", "c"}) {
		t.Error("a new name is due an answer")
	}
	if diff := cmp.Diff([]string{"c"}, w.answer(answer(t, "l"))); diff != "" {
		t.Error(diff)
	}
	w.ask("l", []string{"a"})
	w.ask("l", []string{"a", "b"}) // given up and asked for again
	if diff := cmp.Diff([]string{"b"}, w.answer(answer(t, "l"))); diff != "" {
		t.Error(diff)
	}
	if got := w.answer(answer(t, "never asked for")); got != nil {
		t.Errorf("missing %v", got)
	}
	if diff := cmp.Diff([]string{"c"}, w.unanswered()); diff != "" {
		t.Error(diff)
	}
}

func TestResourceName(t *testing.T) {
	for _, m := range []proto.Message{
		&listenerv3.Listener{Name: "n", StatPrefix: "p"}, &routev3.RouteConfiguration{Name: "n"},
		&clusterv3.Cluster{Name: "n", AltStatName: "p"}, &endpointv3.ClusterLoadAssignment{ClusterName: "n"},
	} {
		body, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if got := resourceName(body); got != "n" {
			t.Errorf("name of %T = %q", m, got)
		}
	}
	for _, broken := range [][]byte{nil, {0xff}, {0x0a, 0x05, 'x'}, {0x12, 0x05, 'x'}} {
		if got := resourceName(broken); got != "" {
			t.Errorf("name of %v = %q", broken, got)
		}
	}
}
