package nodemeta

import (
	"net/netip"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"
)

var addrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestRoundTrip(t *testing.T) {
	n := Node{
		Role: Sidecar, IP: netip.MustParseAddr("10.244.0.5"), Name: "sleep-7d9f.x", Namespace: "default",
		DNSDomain: "default.svc.cluster.local", Cluster: "sleep.default",
		Locality: Locality{"eu", "eu-1", ""},
		IPs:      []netip.Addr{netip.MustParseAddr("10.244.0.5"), netip.MustParseAddr("fd00::5")},
		Labels:   map[string]string{"app": "sleep", "version": "v1"}, Annotations: map[string]string{"a": "b"},
		ServiceAccount: "sleep", WorkloadName: "sleep", Owner: "kubernetes://apis/apps/v1/namespaces/default/deployments/sleep",
		ClusterID: "Kubernetes", Network: "n1", MeshID: "cluster.local", NodeName: "node-1",
		Version: "1.0.0", Revision: "default", InterceptionMode: "REDIRECT", PodPorts: `[{"containerPort":80}]`,
		AppContainers: "sleep", ProxyConfig: `{"concurrency":2}`, Unprivileged: true, Store: true,
		Extra: map[string]string{"DNS_CAPTURE": "true"},
	}
	p := n.Proto()
	if p.Id != "sidecar~10.244.0.5~sleep-7d9f.x.default~default.svc.cluster.local" {
		t.Errorf("id = %q", p.Id)
	}
	if got := p.Metadata.Fields["INSTANCE_IPS"].GetStringValue(); got != "10.244.0.5,fd00::5" {
		t.Errorf("INSTANCE_IPS = %q", got)
	}
	got, err := FromProto(p)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(n, got, addrs); diff != "" {
		t.Error(diff)
	}
}

func TestFromProtoRefuses(t *testing.T) {
	for _, c := range []struct{ id, ips, want string }{
		{"", "", "want <type>"},
		{"sidecar~1.2.3.4~a.b", "", "want <type>"},
		{"ztunnel~1.2.3.4~a.b~d", "", `type "ztunnel"`},
		{"sidecar~nope~a.b~d", "", `"nope" is not an IP`},
		{"sidecar~1.2.3.4~ab~d", "", `"ab" is not <pod>.<namespace>`},
		{"sidecar~1.2.3.4~a.b~d", "1.2.3.4,x", `"x" is not an IP`},
	} {
		_, err := FromProto(&corev3.Node{Id: c.id, Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{"INSTANCE_IPS": structpb.NewStringValue(c.ips)}}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("FromProto(%q, %q) = %v, want %q", c.id, c.ips, err, c.want)
		}
	}
}
