// Package endpointslice converts Kubernetes EndpointSlices. The package is pure.
package endpointslice

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/api/object"
	"github.com/sluicemesh/sluice/xds/ir"
)

// Convert returns the slice. ok is false for a slice that belongs to no Service or holds
// host names.
//
// An endpoint that is not ready is kept as unhealthy; one that terminates is left out, and
// so is one that is not ready and does not say whether it terminates.
// Source: Kubernetes endpoint conditions; Istio's handling of terminating endpoints.
func Convert(s *discoveryv1.EndpointSlice) (out ir.EndpointSlice, ok bool, problems []problem.Problem) {
	service := s.Labels[discoveryv1.LabelServiceName]
	if service == "" {
		return out, false, nil
	}
	notes := object.Notes{Origin: object.Origin("EndpointSlice.discovery.k8s.io", s)}
	if s.AddressType == discoveryv1.AddressTypeFQDN {
		notes.Fatal("addressType", object.NotSupported, "host names as endpoints are not supported; use addresses, or a ServiceEntry with resolution DNS")
		return out, false, notes.Problems
	}
	out = ir.EndpointSlice{Namespace: s.Namespace, Name: s.Name, Service: service, From: notes.Origin}
	for _, p := range s.Ports {
		if p.Port == nil || p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP {
			continue
		}
		port := ir.SlicePort{Number: uint16(*p.Port)}
		if p.Name != nil {
			port.Name = *p.Name
		}
		out.Ports = append(out.Ports, port)
	}
	for _, e := range s.Endpoints {
		if member, keep := endpoint(e); keep {
			out.Endpoints = append(out.Endpoints, member)
		}
	}
	return out, true, notes.Problems
}

func endpoint(e discoveryv1.Endpoint) (ir.SliceEndpoint, bool) {
	var out ir.SliceEndpoint
	if ready := e.Conditions.Ready; ready != nil && !*ready {
		if t := e.Conditions.Terminating; t == nil || *t {
			return out, false
		}
		out.Health = ir.Unhealthy
	}
	for _, a := range e.Addresses {
		if _, err := netip.ParseAddr(a); err == nil {
			out.Addresses = append(out.Addresses, a)
		}
	}
	if e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
		out.Pod = e.TargetRef.Name
	}
	if e.Hostname != nil {
		out.Hostname = *e.Hostname
	}
	if e.NodeName != nil {
		out.NodeName = *e.NodeName
	}
	if e.Zone != nil {
		out.Zone = *e.Zone
	}
	return out, len(out.Addresses) > 0
}
