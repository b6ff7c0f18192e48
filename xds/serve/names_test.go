package serve

import (
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/internal/nametable"
	"github.com/sluicemesh/sluice/xds/envoy"
)

func namesOf(host, ip string) *envoy.Resource {
	return envoy.EncodeBytes(envoy.NameTableType, host, nametable.Append(nil, nametable.Entry{Host: host, Addresses: []string{ip}}))
}

// TestAgentsGetNamesOneByOne: after the first answer only what changed is sent.
func TestAgentsGetNamesOneByOne(t *testing.T) {
	r := newRig(t, nil)
	d := r.delta(t)
	a, b, b2 := namesOf("a.org", "10.0.0.1"), namesOf("b.org", "10.0.0.2"), namesOf("b.org", "10.0.0.3")
	d.send(&discoveryv3.DeltaDiscoveryRequest{Node: node(true), TypeUrl: envoy.NameTableType, ResourceNamesSubscribe: []string{"*"}})
	r.event(t, "connect default")
	r.server.Publish(whole(1, a, b))
	d.want("NDS +a.org@" + a.Version + " +b.org@" + b.Version)
	r.server.Publish(changed(2, b2))
	d.want("NDS +b.org@" + b2.Version)
	r.server.Publish(removed(3, envoy.Name{TypeURL: envoy.NameTableType, Name: "a.org"}))
	d.want("NDS -a.org")
	if got := r.server.Status()[0].Types["NDS"]; got == NotSent || got == Rejected {
		t.Errorf("state %s", got)
	}
}

// TestOtherClientsGetOneTable is the form that Istio's agent takes: one resource without name.
func TestOtherClientsGetOneTable(t *testing.T) {
	r := newRig(t, nil)
	d := r.delta(t)
	d.send(&discoveryv3.DeltaDiscoveryRequest{Node: node(false), TypeUrl: envoy.NameTableType})
	r.event(t, "connect default")
	table := func(want ...string) {
		t.Helper()
		_, resp := d.recv()
		if len(resp.Resources) != 1 || resp.Resources[0].Name != "" || len(resp.RemovedResources) != 0 {
			t.Fatalf("answer %v", resp)
		}
		entries, err := nametable.Parse(resp.Resources[0].Resource.Value)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			got = append(got, e.Host+" "+e.Addresses[0])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		d.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resp.TypeUrl, ResponseNonce: resp.Nonce})
	}
	r.server.Publish(whole(1))
	table()
	r.server.Publish(changed(2, namesOf("b.org", "10.0.0.2"), namesOf("a.org", "10.0.0.1")))
	table("a.org 10.0.0.1", "b.org 10.0.0.2")
	r.server.Publish(changed(3, res(envoy.ClusterType, "c", "1"))) // nothing to say
	r.server.Publish(removed(4, envoy.Name{TypeURL: envoy.NameTableType, Name: "a.org"}))
	table("b.org 10.0.0.2")
}
