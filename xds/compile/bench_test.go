package compile_test

import (
	"fmt"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicemesh/sluice/internal/nodemeta"
	"github.com/sluicemesh/sluice/xds/api"
	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/compile"
	"github.com/sluicemesh/sluice/xds/envoy"
)

// town has n services of one HTTP port with two pods each, and classes of one namespace.
func town(b testing.TB, n, classes int) *compile.Graph {
	g := compile.New(compile.Config{Mesh: testMesh(), OnPanic: failOnPanic(b)})
	for i := range n {
		g.Apply([]compile.Edit{townService(i)})
		for p := range 2 {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns1", Name: fmt.Sprintf("s%d-%d", i, p)}}
			pod.Labels = map[string]string{"app": fmt.Sprint("s", i), "security.istio.io/tlsMode": "istio"}
			pod.Status.PodIP = fmt.Sprintf("10.%d.%d.%d", 1+p, i/250, 1+i%250)
			g.Apply([]compile.Edit{{Kind: api.Pod, Namespace: "ns1", Name: pod.Name, Object: pod}})
		}
		g.Apply([]compile.Edit{townSlice(i, 2)})
	}
	for i := range classes {
		g.Connect(class.Class{
			Role: nodemeta.Sidecar, Namespace: "ns1", DNSDomain: "svc.cluster.local", Labels: fmt.Sprintf("app=s%d", i),
			Families: class.IPv4, Interception: "REDIRECT", ServiceAccount: "default",
		})
	}
	return g
}

func townService(i int) compile.Edit {
	name := fmt.Sprint("s", i)
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns1", Name: name}}
	s.Spec.ClusterIP = fmt.Sprintf("10.100.%d.%d", i/250, 1+i%250)
	s.Spec.Selector = map[string]string{"app": name}
	s.Spec.Ports = []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}}
	return compile.Edit{Kind: api.Service, Namespace: "ns1", Name: name, Object: s}
}

func townSlice(i, ready int) compile.Edit {
	name, port, portName := fmt.Sprint("s", i), int32(80), "http"
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "ns1", Name: name}, AddressType: discoveryv1.AddressTypeIPv4}
	s.Labels = map[string]string{discoveryv1.LabelServiceName: name}
	s.Ports = []discoveryv1.EndpointPort{{Name: &portName, Port: &port}}
	for p := range 2 {
		ok := p < ready
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("10.%d.%d.%d", 1+p, i/250, 1+i%250)}, Conditions: discoveryv1.EndpointConditions{Ready: &ok, Terminating: new(bool)},
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: fmt.Sprintf("s%d-%d", i, p)},
		})
	}
	return compile.Edit{Kind: api.EndpointSlice, Namespace: "ns1", Name: name, Object: s}
}

func resources(us []envoy.Update) (changed, removed int) {
	for _, u := range us {
		changed += len(u.Changed)
		removed += len(u.Removed)
	}
	return changed, removed
}

func BenchmarkEndpointChange(b *testing.B) {
	for _, c := range []struct{ services, classes int }{{1000, 1}, {1000, 100}, {10000, 1}} {
		b.Run(fmt.Sprintf("%dx%d", c.services, c.classes), func(b *testing.B) {
			g := town(b, c.services, c.classes)
			g.Turn()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				g.Apply([]compile.Edit{townSlice(7, 1+i%2)})
				us := g.Turn()
				if changed, removed := resources(us); i > 0 && (changed != c.classes || removed != 0) {
					b.Fatalf("%d changed, %d removed in %d updates, want one resource a class", changed, removed, len(us))
				}
			}
		})
	}
}

func BenchmarkServiceAdd(b *testing.B) {
	for _, c := range []struct{ services, classes int }{{1000, 1}, {1000, 100}, {10000, 1}} {
		b.Run(fmt.Sprintf("%dx%d", c.services, c.classes), func(b *testing.B) {
			g := town(b, c.services, c.classes)
			g.Turn()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e := townService(c.services + 1)
				if i%2 == 1 {
					e.Object = nil
				}
				g.Apply([]compile.Edit{e})
				// A cluster, its endpoints and a virtual host; nothing else.
				changed, removed := resources(g.Turn())
				if changed+removed != 3*c.classes {
					b.Fatalf("%d changed, %d removed, want 3 a class", changed, removed)
				}
			}
		})
	}
}

func BenchmarkFirstTurn(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				town(b, n, 1).Turn()
			}
		})
	}
}

func BenchmarkClassConnect(b *testing.B) {
	g := town(b, 1000, 1)
	g.Turn()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c := class.Class{
			Role: nodemeta.Sidecar, Namespace: "ns1", DNSDomain: "svc.cluster.local", Labels: "app=s1,i=" + fmt.Sprint(i),
			Families: class.IPv4, Interception: "REDIRECT",
		}
		g.Connect(c)
		g.Turn()
		g.Disconnect(c)
		g.Turn()
	}
}

// BenchmarkMemory reports the live heap of 1000 services with two pods each, objects
// included.
func BenchmarkMemory(b *testing.B) {
	heap := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	for b.Loop() {
		before := heap()
		g := town(b, 1000, 1)
		g.Turn()
		after := heap()
		b.ReportMetric((after-before)/1e6, "MB")
		runtime.KeepAlive(g)
	}
}
