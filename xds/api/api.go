// Package api lists the kinds of objects that make up the mesh and converts them to the
// IR. Each kind has a folder of its own beside this file; a new kind is a folder and a
// line in All. The package is pure.
package api

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/api/destinationrule"
	"github.com/sluicemesh/sluice/xds/api/endpointslice"
	"github.com/sluicemesh/sluice/xds/api/gateway"
	"github.com/sluicemesh/sluice/xds/api/namespace"
	"github.com/sluicemesh/sluice/xds/api/node"
	"github.com/sluicemesh/sluice/xds/api/pod"
	"github.com/sluicemesh/sluice/xds/api/service"
	"github.com/sluicemesh/sluice/xds/api/serviceentry"
	"github.com/sluicemesh/sluice/xds/api/virtualservice"
	"github.com/sluicemesh/sluice/xds/ir"
)

// Object is an object of the API server, typed.
type Object interface {
	metav1.Object
	runtime.Object
}

// Fragment is what one object contributes to the mesh; most fields are empty. It is never
// modified.
type Fragment struct {
	Services         []ir.Service
	Slices           []ir.EndpointSlice
	Workloads        []ir.Workload
	Nodes            []ir.Node
	Gateways         []ir.Gateway
	VirtualServices  []ir.VirtualService
	DestinationRules []ir.DestinationRule
	// Problems are those that the object has by itself.
	Problems []problem.Problem
}

// Kind is one kind of objects.
type Kind struct {
	GVK schema.GroupVersionKind
	// New returns an empty object of the kind.
	New func() Object
	// Convert reads an object of the kind; mesh holds the settings that names and
	// identities depend on. It never fails: what is wrong is in the fragment's problems.
	Convert func(o Object, mesh ir.Mesh) Fragment
}

// Names of the kinds, as in All.
const (
	Service         = "Service"
	EndpointSlice   = "EndpointSlice"
	Pod             = "Pod"
	Node            = "Node"
	Namespace       = "Namespace"
	Gateway         = "Gateway"
	VirtualService  = "VirtualService"
	DestinationRule = "DestinationRule"
	ServiceEntry    = "ServiceEntry"
)

// All returns every kind. Kind names are unique.
func All() []Kind {
	core := corev1.SchemeGroupVersion
	networking := networkingv1.SchemeGroupVersion
	return []Kind{
		{core.WithKind(Service), func() Object { return new(corev1.Service) }, convertService},
		{discoveryv1.SchemeGroupVersion.WithKind(EndpointSlice), func() Object { return new(discoveryv1.EndpointSlice) }, convertSlice},
		{core.WithKind(Pod), func() Object { return new(corev1.Pod) }, convertPod},
		{core.WithKind(Node), func() Object { return new(corev1.Node) }, convertNode},
		{core.WithKind(Namespace), func() Object { return new(corev1.Namespace) }, convertNamespace},
		{networking.WithKind(Gateway), func() Object { return new(networkingv1.Gateway) }, convertGateway},
		{networking.WithKind(VirtualService), func() Object { return new(networkingv1.VirtualService) }, convertVirtualService},
		{networking.WithKind(DestinationRule), func() Object { return new(networkingv1.DestinationRule) }, convertDestinationRule},
		{networking.WithKind(ServiceEntry), func() Object { return new(networkingv1.ServiceEntry) }, convertServiceEntry},
	}
}

func convertService(o Object, mesh ir.Mesh) (f Fragment) {
	s, ok, problems := service.Convert(o.(*corev1.Service), mesh)
	if f.Problems = problems; ok {
		f.Services = []ir.Service{s}
	}
	return f
}

func convertSlice(o Object, _ ir.Mesh) (f Fragment) {
	s, ok, problems := endpointslice.Convert(o.(*discoveryv1.EndpointSlice))
	if f.Problems = problems; ok {
		f.Slices = []ir.EndpointSlice{s}
	}
	return f
}

func convertPod(o Object, _ ir.Mesh) (f Fragment) {
	if w, ok := pod.Convert(o.(*corev1.Pod)); ok {
		f.Workloads = []ir.Workload{w}
	}
	return f
}

func convertNode(o Object, _ ir.Mesh) Fragment {
	return Fragment{Nodes: []ir.Node{node.Convert(o.(*corev1.Node))}}
}

func convertNamespace(o Object, _ ir.Mesh) Fragment {
	return Fragment{Problems: namespace.Convert(o.(*corev1.Namespace))}
}

func convertGateway(o Object, _ ir.Mesh) Fragment {
	g, problems := gateway.Convert(o.(*networkingv1.Gateway))
	return Fragment{Gateways: []ir.Gateway{g}, Problems: problems}
}

func convertVirtualService(o Object, mesh ir.Mesh) (f Fragment) {
	v, ok, problems := virtualservice.Convert(o.(*networkingv1.VirtualService), mesh)
	if f.Problems = problems; ok {
		f.VirtualServices = []ir.VirtualService{v}
	}
	return f
}

func convertDestinationRule(o Object, mesh ir.Mesh) (f Fragment) {
	d, ok, problems := destinationrule.Convert(o.(*networkingv1.DestinationRule), mesh)
	if f.Problems = problems; ok {
		f.DestinationRules = []ir.DestinationRule{d}
	}
	return f
}

func convertServiceEntry(o Object, mesh ir.Mesh) (f Fragment) {
	f.Services, f.Problems = serviceentry.Convert(o.(*networkingv1.ServiceEntry), mesh)
	return f
}
