package compile_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	networkingv1alpha3 "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluicemesh/sluice/internal/nodemeta"
	"github.com/sluicemesh/sluice/xds/api"
	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/compile"
	"github.com/sluicemesh/sluice/xds/ir"
)

// dice makes random objects over few names, so that they meet.
type dice struct{ *rand.Rand }

func pick[T any](d dice, of ...T) T { return of[d.IntN(len(of))] }

func (d dice) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, Namespace: pick(d, "ns1", "ns2", "istio-system"),
		CreationTimestamp: metav1.NewTime(time.Unix(int64(d.IntN(4)), 0)), Generation: int64(d.IntN(3)),
	}
}

func (d dice) labels() map[string]string {
	return map[string]string{"app": pick(d, "a", "b", "gw"), "version": pick(d, "v1", "v2")}
}

func (d dice) host() string {
	return pick(d, "a", "b", "a.ns1.svc.cluster.local", "b.ns2.svc.cluster.local", "c", "x.example.com", "y.example.com",
		"*.example.com", "a.ns1", "a.cluster.local", "10.0.0.2", "istio-ingressgateway.istio-system.svc.cluster.local")
}

func (d dice) exportTo() []string {
	return pick(d, nil, nil, []string{"."}, []string{"ns1"}, []string{"*"})
}

func (d dice) service() api.Object {
	s := &corev1.Service{ObjectMeta: d.meta(pick(d, "a", "b", "c"))}
	s.Spec.Selector = map[string]string{"app": pick(d, "a", "b", "gw")}
	s.Spec.ClusterIP = pick(d, "10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "None", "10.0.0."+fmt.Sprint(4+d.IntN(9)))
	for i, n := range []int32{80, 8080, 443, 15021} {
		if d.IntN(3) == 0 {
			continue
		}
		name := fmt.Sprintf("%s-%d", pick(d, "http", "tcp", "grpc", "odd", "tls", "mysql"), i)
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{
			Name: name, Port: n, Protocol: corev1.ProtocolTCP,
			TargetPort: pick(d, intstr.FromInt32(n), intstr.FromInt32(8000), intstr.FromString("web")),
		})
	}
	if e := d.exportTo(); e != nil {
		s.Annotations = map[string]string{"networking.istio.io/exportTo": e[0]}
	}
	return s
}

func (d dice) pod() api.Object {
	p := &corev1.Pod{ObjectMeta: d.meta(pick(d, "p1", "p2", "p3"))}
	p.Labels = d.labels()
	if d.IntN(2) == 0 {
		p.Labels["security.istio.io/tlsMode"] = "istio"
	}
	p.Spec.ServiceAccountName = pick(d, "sa1", "sa2")
	p.Spec.NodeName = pick(d, "n1", "n2")
	p.Status.PodIP = fmt.Sprintf("10.1.0.%d", 1+d.IntN(5))
	return p
}

func (d dice) node() api.Object {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: pick(d, "n1", "n2")}}
	n.Labels = map[string]string{"topology.kubernetes.io/zone": pick(d, "z1", "z2")}
	return n
}

func (d dice) slice() api.Object {
	s := &discoveryv1.EndpointSlice{ObjectMeta: d.meta(pick(d, "s1", "s2", "s3")), AddressType: discoveryv1.AddressTypeIPv4}
	s.Labels = map[string]string{discoveryv1.LabelServiceName: pick(d, "a", "b", "c")}
	for i, n := range []int32{80, 8080} {
		name := fmt.Sprintf("%s-%d", pick(d, "http", "tcp", "odd"), i)
		s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: &name, Port: &n})
	}
	for range d.IntN(4) {
		ready := d.IntN(4) > 0
		e := discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.1.0.%d", 1+d.IntN(5))}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}
		if d.IntN(3) == 0 {
			hostname := pick(d, "p1", "p2")
			e.Hostname = &hostname
		}
		if d.IntN(3) > 0 {
			e.TargetRef = &corev1.ObjectReference{Kind: "Pod", Name: pick(d, "p1", "p2", "p3")}
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

func (d dice) destination() *networkingv1alpha3.Destination {
	out := &networkingv1alpha3.Destination{Host: pick(d, "a", "b.ns2.svc.cluster.local", "x.example.com", "nowhere"), Subset: pick(d, "", "", "v1", "v2")}
	if d.IntN(2) == 0 {
		out.Port = &networkingv1alpha3.PortSelector{Number: pick(d, uint32(80), uint32(8080))}
	}
	return out
}

func (d dice) virtualService() api.Object {
	v := &networkingv1.VirtualService{ObjectMeta: d.meta(pick(d, "vs1", "vs2", "vs3"))}
	v.Spec.Hosts = []string{d.host()}
	if more := d.host(); d.IntN(3) == 0 && more != v.Spec.Hosts[0] {
		v.Spec.Hosts = append(v.Spec.Hosts, more)
	}
	v.Spec.Gateways = pick(d, nil, nil, []string{"mesh", "gw1"}, []string{"istio-system/gw1"}, []string{"ns1/gw2"})
	v.Spec.ExportTo = d.exportTo()
	for range 1 + d.IntN(2) {
		r := &networkingv1alpha3.HTTPRoute{}
		for range 1 + d.IntN(2) {
			r.Route = append(r.Route, &networkingv1alpha3.HTTPRouteDestination{Destination: d.destination(), Weight: 50})
		}
		if d.IntN(2) == 0 {
			r.Match = []*networkingv1alpha3.HTTPMatchRequest{{
				Uri:  &networkingv1alpha3.StringMatch{MatchType: &networkingv1alpha3.StringMatch_Prefix{Prefix: pick(d, "/", "/a")}},
				Port: pick(d, uint32(0), uint32(0), uint32(80)), SourceNamespace: pick(d, "", "", "ns1"),
				SourceLabels: pick(d, nil, nil, map[string]string{"app": "a"}), Gateways: pick(d, nil, nil, []string{"mesh"}),
			}}
		}
		v.Spec.Http = append(v.Spec.Http, r)
	}
	if d.IntN(3) == 0 {
		v.Spec.Tls = []*networkingv1alpha3.TLSRoute{{
			Match: []*networkingv1alpha3.TLSMatchAttributes{{SniHosts: []string{pick(d, "x.example.com", "*.example.com")}}},
			Route: []*networkingv1alpha3.RouteDestination{{Destination: d.destination()}},
		}}
		v.Spec.Tcp = []*networkingv1alpha3.TCPRoute{{Route: []*networkingv1alpha3.RouteDestination{{Destination: d.destination()}}}}
	}
	return v
}

func (d dice) destinationRule() api.Object {
	r := &networkingv1.DestinationRule{ObjectMeta: d.meta(pick(d, "dr1", "dr2", "dr3"))}
	r.Spec.Host, r.Spec.ExportTo = d.host(), d.exportTo()
	r.Spec.TrafficPolicy = pick(d, nil, &networkingv1alpha3.TrafficPolicy{Tls: &networkingv1alpha3.ClientTLSSettings{
		Mode: pick(d, networkingv1alpha3.ClientTLSSettings_DISABLE, networkingv1alpha3.ClientTLSSettings_ISTIO_MUTUAL),
	}}, &networkingv1alpha3.TrafficPolicy{LoadBalancer: &networkingv1alpha3.LoadBalancerSettings{
		LbPolicy: &networkingv1alpha3.LoadBalancerSettings_ConsistentHash{ConsistentHash: &networkingv1alpha3.LoadBalancerSettings_ConsistentHashLB{
			HashKey: &networkingv1alpha3.LoadBalancerSettings_ConsistentHashLB_UseSourceIp{UseSourceIp: true},
		}},
	}})
	for _, s := range []string{"v1", "v2"} {
		if d.IntN(2) == 0 {
			r.Spec.Subsets = append(r.Spec.Subsets, &networkingv1alpha3.Subset{Name: s, Labels: map[string]string{"version": s}})
		}
	}
	return r
}

func (d dice) serviceEntry() api.Object {
	e := &networkingv1.ServiceEntry{ObjectMeta: d.meta(pick(d, "se1", "se2", "se3"))}
	e.Spec.Hosts = []string{pick(d, "x.example.com", "y.example.com", "*.example.com", "a.ns1", "a", "b.cluster.local", "a.ns1.svc.cluster.local", "10.0.0.2")}
	e.Spec.Resolution = pick(d, networkingv1alpha3.ServiceEntry_DNS, networkingv1alpha3.ServiceEntry_STATIC, networkingv1alpha3.ServiceEntry_NONE)
	e.Spec.Location = pick(d, networkingv1alpha3.ServiceEntry_MESH_EXTERNAL, networkingv1alpha3.ServiceEntry_MESH_INTERNAL)
	e.Spec.ExportTo = d.exportTo()
	e.Spec.Addresses = pick(d, nil, nil, []string{"10.0.0.2"}, []string{"10.0.9.0/24"})
	for _, n := range []uint32{80, 443} {
		if d.IntN(3) > 0 {
			e.Spec.Ports = append(e.Spec.Ports, &networkingv1alpha3.ServicePort{Number: n, Name: fmt.Sprint("p", n), Protocol: pick(d, "HTTP", "TLS", "TCP", "HTTPS", "")})
		}
	}
	switch d.IntN(3) {
	case 0:
		e.Spec.WorkloadSelector = &networkingv1alpha3.WorkloadSelector{Labels: map[string]string{"app": "a"}}
	case 1:
		e.Spec.Endpoints = []*networkingv1alpha3.WorkloadEntry{{Address: "10.3.0.1", Labels: d.labels()}}
	}
	return e
}

func (d dice) gateway() api.Object {
	g := &networkingv1.Gateway{ObjectMeta: d.meta(pick(d, "gw1", "gw2"))}
	g.Spec.Selector = pick(d, map[string]string{"app": "gw"}, nil, map[string]string{"app": "a"})
	for range 1 + d.IntN(2) {
		s := &networkingv1alpha3.Server{
			Port:  &networkingv1alpha3.Port{Number: pick(d, uint32(80), uint32(8080), uint32(15021)), Protocol: pick(d, "HTTP", "HTTP", "HTTPS"), Name: "http"},
			Hosts: []string{pick(d, "*", "x.example.com", "ns1/*.example.com", "./y.example.com")},
		}
		if d.IntN(4) == 0 {
			s.Tls = &networkingv1alpha3.ServerTLSSettings{HttpsRedirect: true}
		}
		g.Spec.Servers = append(g.Spec.Servers, s)
	}
	return g
}

func (d dice) class() class.Class {
	c := class.Class{
		Role: pick(d, nodemeta.Sidecar, nodemeta.Sidecar, nodemeta.Router), Namespace: pick(d, "ns1", "ns2", "istio-system"), DNSDomain: "svc.cluster.local",
		Labels: "app=" + pick(d, "a", "gw") + ",version=v1", NamedPorts: "web=8001", ServiceAccount: "sa1",
		Families: pick(d, class.IPv4, class.IPv4, class.IPv4|class.IPv6), Interception: pick(d, "REDIRECT", "TPROXY", "NONE"), Unprivileged: d.IntN(2) == 0, Names: d.IntN(2) == 0,
	}
	return c
}

// edit changes one object, mostly to something new, sometimes to nothing.
func (d dice) edit() compile.Edit {
	makers := map[string]func() api.Object{
		api.Pod: d.pod, api.Node: d.node, api.EndpointSlice: d.slice, api.VirtualService: d.virtualService,
		api.DestinationRule: d.destinationRule, api.ServiceEntry: d.serviceEntry, api.Gateway: d.gateway, api.Service: d.service,
	}
	kind := pick(d, api.Service, api.Pod, api.Node, api.EndpointSlice, api.VirtualService, api.DestinationRule, api.ServiceEntry, api.Gateway)
	o := makers[kind]()
	e := compile.Edit{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName(), Object: o}
	if d.IntN(4) == 0 {
		e.Object = nil
	}
	return e
}

func testMesh() ir.Mesh {
	return ir.Mesh{
		TrustDomain: "cluster.local", RootNamespace: "istio-system", ClusterDomain: "cluster.local", AutoMTLS: true,
		ConnectTimeout: 10 * time.Second, DNSRefresh: time.Minute, AccessLogFile: "/dev/stdout", OutboundPort: 15001, InboundPort: 15006,
	}
}
