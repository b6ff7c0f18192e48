// Package service converts Kubernetes Services. The package is pure.
package service

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluicemesh/sluice/internal/identity"
	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/api/object"
	"github.com/sluicemesh/sluice/xds/ir"
)

const (
	exportTo            = "networking.istio.io/exportTo"
	canonicalAccounts   = "alpha.istio.io/canonical-serviceaccounts"
	kubernetesAccounts  = "alpha.istio.io/kubernetes-serviceaccounts"
	trafficDistribution = "networking.istio.io/traffic-distribution"
)

// Convert returns the service. ok is false for one that has no ports of its own in the
// mesh (type ExternalName).
func Convert(s *corev1.Service, mesh ir.Mesh) (out ir.Service, ok bool, problems []problem.Problem) {
	notes := &object.Notes{Origin: object.Origin("Service", s)}
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		notes.Fatal("spec.type", object.NotSupported, "ExternalName is not supported yet; write a ServiceEntry for %q", s.Spec.ExternalName)
		return out, false, notes.Problems
	}
	out = ir.Service{
		ID:       ir.ServiceID{Namespace: s.Namespace, Host: object.Host(s.Name, s.Namespace, mesh.ClusterDomain)},
		Registry: ir.Kubernetes, Name: s.Name, Headless: s.Spec.ClusterIP == corev1.ClusterIPNone,
		Selector: ir.LabelsOf(s.Spec.Selector), From: notes.Origin,
	}
	if out.Headless {
		out.Resolution = ir.Passthrough
	}
	if words, set := s.Annotations[exportTo]; set {
		out.ExportTo = notes.ExportTo("metadata.annotations["+exportTo+"]", strings.Split(words, ","))
	}
	out.Addresses = addresses(s)
	out.Ports = ports(s)
	out.SubjectAltNames = accounts(s, mesh.TrustDomain)
	warn(s, notes)
	return out, true, notes.Problems
}

func addresses(s *corev1.Service) []netip.Prefix {
	ips := s.Spec.ClusterIPs
	if len(ips) == 0 {
		ips = []string{s.Spec.ClusterIP}
	}
	var out []netip.Prefix
	for _, text := range ips {
		if ip, err := netip.ParseAddr(text); err == nil {
			out = append(out, netip.PrefixFrom(ip, ip.BitLen()))
		}
	}
	return out
}

func ports(s *corev1.Service) []ir.Port {
	var out []ir.Port
	for _, p := range s.Spec.Ports {
		port := ir.Port{Name: p.Name, Number: uint16(p.Port), Protocol: ir.UDP}
		if p.Protocol == "" || p.Protocol == corev1.ProtocolTCP {
			app := ""
			if p.AppProtocol != nil {
				app = *p.AppProtocol
			}
			port.Protocol = ir.SelectProtocol(p.Name, app, port.Number)
		}
		switch {
		case p.TargetPort.Type == intstr.String:
			port.TargetName = p.TargetPort.StrVal
		case p.TargetPort.IntVal != 0:
			port.Target = uint16(p.TargetPort.IntVal)
		default:
			port.Target = port.Number
		}
		out = append(out, port)
	}
	return out
}

// accounts are identities that the endpoints may have besides those that are seen.
func accounts(s *corev1.Service, trustDomain string) []string {
	var out []string
	for word := range strings.SplitSeq(s.Annotations[canonicalAccounts], ",") {
		if word = strings.TrimSpace(word); word != "" {
			out = append(out, word)
		}
	}
	for word := range strings.SplitSeq(s.Annotations[kubernetesAccounts], ",") {
		if word = strings.TrimSpace(word); word != "" {
			out = append(out, identity.Identity{TrustDomain: trustDomain, Namespace: s.Namespace, ServiceAccount: word}.String())
		}
	}
	return out
}

// warn notes settings that change what kube-proxy does and what proxies do not follow.
func warn(s *corev1.Service, notes *object.Notes) {
	if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		notes.Warn("spec.sessionAffinity", object.NotSupported, "proxies do not follow it; use consistentHash.useSourceIp in a DestinationRule")
	}
	if p := s.Spec.InternalTrafficPolicy; p != nil && *p == corev1.ServiceInternalTrafficPolicyLocal {
		notes.Warn("spec.internalTrafficPolicy", object.NotSupported, "Local has no effect on traffic through a proxy yet")
	}
	if p := s.Spec.TrafficDistribution; p != nil && *p != "" {
		notes.Warn("spec.trafficDistribution", object.NotSupported, "%q has no effect on traffic through a proxy yet", *p)
	}
	if v := s.Annotations[trafficDistribution]; v != "" {
		notes.Warn("metadata.annotations["+trafficDistribution+"]", object.NotSupported, "%q has no effect yet; remove the annotation", v)
	}
	for _, label := range []string{"istio.io/persistent-session", "istio.io/persistent-session-header", "istio.io/use-waypoint"} {
		if _, set := s.Labels[label]; set {
			notes.Warn("metadata.labels["+label+"]", object.NotSupported, "the label has no effect yet; remove it")
		}
	}
}
