package serve

import (
	"context"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/sluicemesh/sluice/xds/envoy"
)

// TestAbsentNameIsAnsweredOnce acknowledges answers that lack a name, as a gRPC client does
// that asks for what the mesh does not have: one answer says so, and there is no second one
// until something changes.
func TestAbsentNameIsAnsweredOnce(t *testing.T) {
	r := newRig(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	stream, err := r.client.StreamAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var last *discoveryv3.DiscoveryResponse
	send := func(typeURL, nonce string, names ...string) {
		t.Helper()
		req := &discoveryv3.DiscoveryRequest{Node: node(false), TypeUrl: typeURL, ResourceNames: names, ResponseNonce: nonce}
		if nonce != "" {
			req.VersionInfo = last.GetVersionInfo()
		}
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
	}
	recv := func(want string, resources int) {
		t.Helper()
		if last, err = stream.Recv(); err != nil {
			t.Fatal(err)
		}
		if got := last.GetNonce() + " " + short(last.GetTypeUrl()); got != want || len(last.GetResources()) != resources {
			t.Fatalf("answer %s with %d resources, want %s with %d", got, len(last.GetResources()), want, resources)
		}
	}
	send(envoy.ListenerType, "", "echo:7070")
	r.event(t, "connect default")
	r.server.Publish(whole(1))
	recv("1 LDS", 0)
	send(envoy.ListenerType, "1", "echo:7070")
	// The answer to the next type shows that the acknowledgement had none.
	send(envoy.ClusterType, "", "a")
	recv("2 CDS", 0)
	send(envoy.ListenerType, "1", "echo:7070", "other:80")
	recv("3 LDS", 0)
	send(envoy.ListenerType, "3", "echo:7070", "other:80")
	send(envoy.EndpointType, "", "a")
	recv("4 EDS", 0)
	r.server.Publish(changed(2, res(envoy.ListenerType, "unrelated", "v1")))
	r.server.Publish(changed(3, res(envoy.ListenerType, "echo:7070", "v1")))
	recv("5 LDS", 1)
}
