// Package serviceentry converts ServiceEntries: services that Kubernetes does not know.
// The package is pure.
package serviceentry

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	networkingv1alpha3 "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sluicemesh/sluice/internal/identity"
	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/api/object"
	"github.com/sluicemesh/sluice/xds/ir"
)

// supported are the fields that Convert reads.
const supported = `hosts addresses ports.number ports.protocol ports.name ports.targetPort location
	resolution endpoints.address endpoints.ports endpoints.labels endpoints.locality endpoints.weight
	endpoints.serviceAccount workloadSelector.labels exportTo subjectAltNames`

const tlsModeLabel = "security.istio.io/tlsMode"

// Convert returns a service per host, none when the object cannot be programmed.
func Convert(e *networkingv1.ServiceEntry, mesh ir.Mesh) ([]ir.Service, []problem.Problem) {
	c := &converter{
		Notes: object.Notes{Origin: object.Origin("ServiceEntry.networking.istio.io", e)},
		spec:  &e.Spec, namespace: e.Namespace, mesh: mesh,
	}
	c.Unsupported(&e.Spec, object.Fields(supported))
	template := c.template()
	var out []ir.Service
	for i, h := range e.Spec.Hosts {
		mark := len(c.Problems)
		s := template
		s.ID.Host = strings.TrimSuffix(strings.ToLower(h), ".")
		c.host(fmt.Sprintf("spec.hosts[%d]", i), &s)
		if !c.Failed(mark) {
			out = append(out, s)
		}
	}
	if len(e.Spec.Hosts) == 0 {
		c.Fatal("spec.hosts", object.Missing, "a ServiceEntry needs a host")
	}
	for _, p := range c.Problems {
		if p.Fatal && !strings.HasPrefix(p.Path, "spec.hosts[") {
			return nil, c.Problems
		}
	}
	return out, c.Problems
}

type converter struct {
	object.Notes
	spec      *networkingv1alpha3.ServiceEntry
	namespace string
	mesh      ir.Mesh
}

// template is the service without its host.
func (c *converter) template() ir.Service {
	s := ir.Service{
		ID: ir.ServiceID{Namespace: c.namespace}, Registry: ir.External,
		MeshExternal: c.spec.Location == networkingv1alpha3.ServiceEntry_MESH_EXTERNAL,
		ExportTo:     c.ExportTo("spec.exportTo", c.spec.ExportTo), Selector: ir.LabelsOf(c.spec.WorkloadSelector.GetLabels()),
		SubjectAltNames: c.spec.SubjectAltNames, From: c.Origin,
	}
	switch c.spec.Resolution {
	case networkingv1alpha3.ServiceEntry_STATIC:
	case networkingv1alpha3.ServiceEntry_DNS:
		s.Resolution = ir.DNS
	case networkingv1alpha3.ServiceEntry_DNS_ROUND_ROBIN:
		s.Resolution = ir.DNSRoundRobin
	case networkingv1alpha3.ServiceEntry_NONE:
		s.Resolution = ir.Passthrough
	default:
		c.Fatal("spec.resolution", object.NotSupported, "%s is not supported yet; use STATIC, DNS, DNS_ROUND_ROBIN or NONE", c.spec.Resolution)
	}
	if len(c.spec.Endpoints) > 0 && len(s.Selector) > 0 {
		c.Fatal("spec.workloadSelector", object.Conflict, "endpoints and workloadSelector exclude each other; keep one")
	}
	if s.Resolution == ir.Passthrough && len(c.spec.Endpoints) > 0 {
		c.Fatal("spec.endpoints", object.Conflict, "resolution NONE goes where the client dialled; remove the endpoints or use STATIC")
	}
	c.addresses(&s)
	c.ports(&s)
	for i, e := range c.spec.Endpoints {
		s.Endpoints = append(s.Endpoints, c.endpoint(fmt.Sprintf("spec.endpoints[%d]", i), e, s)...)
	}
	return s
}

func (c *converter) addresses(s *ir.Service) {
	for i, text := range c.spec.Addresses {
		path := fmt.Sprintf("spec.addresses[%d]", i)
		if ip, err := netip.ParseAddr(text); err == nil {
			s.Addresses = append(s.Addresses, netip.PrefixFrom(ip, ip.BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			c.Fatal(path, object.InvalidValue, "%q is neither an IP address nor a prefix in CIDR form", text)
			continue
		}
		if prefix.Bits() == 0 {
			c.Fatal(path, object.InvalidValue, "%q covers every address; write the prefix that the service has", text)
			continue
		}
		s.Addresses = append(s.Addresses, prefix.Masked())
	}
}

func (c *converter) ports(s *ir.Service) {
	seen := map[uint16]bool{}
	for i, p := range c.spec.Ports {
		path := fmt.Sprintf("spec.ports[%d]", i)
		number := c.Port(path+".number", p.Number)
		if seen[number] {
			c.Fatal(path+".number", object.Conflict, "port %d is there already; number the ports differently", number)
		}
		seen[number] = true
		protocol, known := ir.ParseProtocol(p.Protocol)
		if !known && p.Protocol != "" {
			c.Warn(path+".protocol", object.InvalidValue, "%q is not a protocol, the proxy looks at the first bytes instead; use HTTP, HTTP2, GRPC, HTTPS, TLS or TCP", p.Protocol)
		}
		target := number
		if p.TargetPort != 0 {
			target = c.Port(path+".targetPort", p.TargetPort)
		}
		s.Ports = append(s.Ports, ir.Port{Name: p.Name, Number: number, Protocol: protocol, Target: target})
	}
	if len(c.spec.Ports) == 0 {
		c.Fatal("spec.ports", object.Missing, "a ServiceEntry needs a port")
	}
}

// endpoint returns one endpoint per service port. A port of the endpoint's own map beats
// the service's target port.
func (c *converter) endpoint(path string, e *networkingv1alpha3.WorkloadEntry, s ir.Service) []ir.Endpoint {
	dns := s.Resolution == ir.DNS || s.Resolution == ir.DNSRoundRobin
	_, err := netip.ParseAddr(e.Address)
	switch {
	case strings.HasPrefix(e.Address, "unix://"):
		c.Fatal(path+".address", object.NotSupported, "Unix domain sockets are not supported yet")
	case e.Address == "":
		c.Fatal(path+".address", object.Missing, "an endpoint needs an address")
	case err != nil && !dns:
		c.Fatal(path+".address", object.InvalidValue, "%q is not an IP address; use one, or resolution DNS", e.Address)
	case err != nil && (!object.ValidHost(strings.ToLower(e.Address)) || strings.Contains(e.Address, "*")):
		c.Fatal(path+".address", object.InvalidValue, "%q is neither an IP address nor a DNS name", e.Address)
	}
	base := ir.Endpoint{
		Address: strings.ToLower(e.Address), Weight: max(e.Weight, 1), Locality: locality(e.Locality), Labels: ir.LabelsOf(e.Labels),
		MeshTLS: e.Labels[tlsModeLabel] == "istio" || e.Labels[tlsModeLabel] == "" && e.ServiceAccount != "",
	}
	if e.ServiceAccount != "" {
		base.ServiceAccount = identity.Identity{TrustDomain: c.mesh.TrustDomain, Namespace: c.namespace, ServiceAccount: e.ServiceAccount}.String()
	}
	for _, name := range slices.Sorted(maps.Keys(e.Ports)) {
		if !hasPort(s.Ports, name) {
			c.Warn(path+".ports["+name+"]", object.InvalidValue, "the ServiceEntry has no port of this name; use one of its port names")
		}
	}
	var out []ir.Endpoint
	for _, p := range s.Ports {
		ep := base
		ep.ServicePort, ep.Port = p.Number, p.Target
		if own, ok := e.Ports[p.Name]; ok {
			ep.Port = c.Port(path+".ports["+p.Name+"]", own)
		}
		out = append(out, ep)
	}
	return out
}

func hasPort(ports []ir.Port, name string) bool {
	for _, p := range ports {
		if p.Name == name {
			return true
		}
	}
	return false
}

// host checks the host of s, and makes it the endpoint of a DNS service without any.
func (c *converter) host(path string, s *ir.Service) {
	wildcard := strings.HasPrefix(s.ID.Host, "*")
	dns := s.Resolution == ir.DNS || s.Resolution == ir.DNSRoundRobin
	switch {
	case !object.ValidHost(s.ID.Host):
		c.Fatal(path, object.InvalidValue, "%q is not a host; write a DNS name or \"*.example.com\"", s.ID.Host)
		return
	case s.ID.Host == "*":
		c.Fatal(path, object.InvalidValue, "\"*\" would claim every host; write the hosts")
		return
	case wildcard && dns && len(s.Endpoints) == 0:
		c.Fatal(path, object.InvalidValue, "a wildcard cannot be resolved; add endpoints, or use resolution NONE")
		return
	}
	if dns && len(c.spec.Endpoints) == 0 {
		for _, p := range s.Ports {
			s.Endpoints = append(s.Endpoints, ir.Endpoint{Address: s.ID.Host, Port: p.Target, ServicePort: p.Number, Weight: 1})
		}
	}
}

// locality reads "region/zone/subzone".
func locality(text string) ir.Locality {
	parts := strings.SplitN(text, "/", 3)
	for len(parts) < 3 {
		parts = append(parts, "")
	}
	return ir.Locality{Region: parts[0], Zone: parts[1], SubZone: parts[2]}
}
