package class_test

import (
	"net/netip"
	"testing"

	"github.com/sluicemesh/sluice/internal/nodemeta"
	"github.com/sluicemesh/sluice/xds/class"
)

func TestOf(t *testing.T) {
	n := nodemeta.Node{
		Role: nodemeta.Sidecar, IP: netip.MustParseAddr("10.0.0.1"), Name: "sleep-x", Namespace: "default",
		DNSDomain: "default.svc.cluster.local", ServiceAccount: "sleep", InterceptionMode: "REDIRECT", Unprivileged: true,
		IPs:      []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")},
		Labels:   map[string]string{"version": "v1", "app": "sleep", "pod-template-hash": "abc"},
		PodPorts: `[{"name":"web","containerPort":8080,"protocol":"TCP"},{"name":"dns","containerPort":53,"protocol":"UDP"},{"containerPort":1}]`,
	}
	want := class.Class{
		Role: nodemeta.Sidecar, Namespace: "default", DNSDomain: "svc.cluster.local", Labels: "app=sleep,version=v1",
		NamedPorts: "web=8080", ServiceAccount: "sleep", Families: class.IPv4 | class.IPv6, Interception: "REDIRECT", Unprivileged: true,
	}
	got := class.Of(n)
	if got != want {
		t.Errorf("Of() = %+v, want %+v", got, want)
	}
	n.Name, n.Labels["pod-template-hash"] = "sleep-y", "def"
	if class.Of(n) != want {
		t.Error("two pods of one workload have different classes")
	}
	if p := got.NamedPort("web"); p != 8080 {
		t.Errorf("NamedPort(web) = %d", p)
	}
	if p := got.NamedPort("we"); p != 0 {
		t.Errorf("NamedPort(we) = %d", p)
	}
	n.Extra = map[string]string{"DNS_CAPTURE": "true"}
	if !class.Of(n).Names {
		t.Error("a proxy that answers DNS queries gets no names")
	}
	n.IPs, n.PodPorts = nil, "nonsense"
	if got := class.Of(n); got.Families != class.IPv4 || got.NamedPorts != "" {
		t.Errorf("Of() = %+v", got)
	}
}
