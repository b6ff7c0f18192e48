// Package virtualservice converts VirtualServices: routes for HTTP, TLS and TCP. Delegation
// is not supported. The package is pure.
package virtualservice

import (
	"fmt"
	"strings"

	networkingv1alpha3 "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/api/object"
	"github.com/sluicemesh/sluice/xds/ir"
)

// supported are the fields that Convert reads.
const supported = `hosts gateways exportTo
	http.name http.match.name http.match.uri.* http.match.scheme.* http.match.method.* http.match.authority.*
	http.match.headers http.match.withoutHeaders http.match.queryParams http.match.ignoreUriCase
	http.match.port http.match.sourceLabels http.match.sourceNamespace http.match.gateways
	http.route.destination.* http.route.weight http.route.headers.* http.redirect.* http.directResponse.*
	http.delegate.* http.rewrite.* http.timeout.* http.retries.* http.fault.* http.mirror.* http.mirrors.*
	http.mirrorPercent.* http.mirrorPercentage.* http.corsPolicy.* http.headers.*
	tcp.match.destinationSubnets tcp.match.sourceSubnet tcp.match.port tcp.match.sourceLabels tcp.match.gateways tcp.match.sourceNamespace
	tcp.route.destination.* tcp.route.weight
	tls.match.sniHosts tls.match.destinationSubnets tls.match.port tls.match.sourceLabels tls.match.gateways
	tls.match.sourceNamespace tls.route.destination.* tls.route.weight`

// Convert returns the VirtualService with those of its rules that can be programmed. ok is
// false when it has no host or no rule left.
func Convert(v *networkingv1.VirtualService, mesh ir.Mesh) (out ir.VirtualService, ok bool, problems []problem.Problem) {
	c := &converter{
		Notes: object.Notes{Origin: object.Origin("VirtualService.networking.istio.io", v)}, namespace: v.Namespace, mesh: mesh,
	}
	c.Unsupported(&v.Spec, object.Fields(supported))
	out = ir.VirtualService{
		Namespace: v.Namespace, Name: v.Name, From: c.Origin,
		Gateways: c.gateways(v.Spec.Gateways), ExportTo: c.ExportTo("spec.exportTo", v.Spec.ExportTo),
	}
	out.Hosts = c.hosts(v.Spec.Hosts, out.Gateways)
	for i, r := range v.Spec.Http {
		mark := len(c.Problems)
		routes := c.http(fmt.Sprintf("spec.http[%d]", i), r)
		if !c.Failed(mark) {
			out.HTTP = append(out.HTTP, routes...)
		}
	}
	for i, r := range v.Spec.Tls {
		mark := len(c.Problems)
		routes := c.tls(fmt.Sprintf("spec.tls[%d]", i), r)
		if !c.Failed(mark) {
			out.TLS = append(out.TLS, routes...)
		}
	}
	for i, r := range v.Spec.Tcp {
		mark := len(c.Problems)
		routes := c.tcp(fmt.Sprintf("spec.tcp[%d]", i), r)
		if !c.Failed(mark) {
			out.TCP = append(out.TCP, routes...)
		}
	}
	rules := len(out.HTTP) + len(out.TLS) + len(out.TCP)
	if len(v.Spec.Http)+len(v.Spec.Tls)+len(v.Spec.Tcp) == 0 {
		c.Fatal("spec", object.Missing, "a VirtualService needs a rule in http, tls or tcp")
	}
	return out, len(out.Hosts) > 0 && rules > 0, c.Problems
}

type converter struct {
	object.Notes
	namespace string
	mesh      ir.Mesh
}

// gateways resolves gateway names: "mesh", "<namespace>/<name>", "<name>" of the object's
// own namespace, and the old form of a service name.
func (c *converter) gateways(names []string) []string {
	if len(names) == 0 {
		return []string{ir.MeshGateway}
	}
	out := make([]string, 0, len(names))
	for _, n := range names {
		out = append(out, c.gateway(n))
	}
	return out
}

func (c *converter) gateway(name string) string {
	if name == ir.MeshGateway || strings.Contains(name, "/") {
		return name
	}
	if short, rest, found := strings.Cut(name, "."); found {
		if ns, _, isService := strings.Cut(rest, ".svc."); isService {
			return ns + "/" + short
		}
	}
	return c.namespace + "/" + name
}

func (c *converter) hosts(names, gateways []string) []string {
	var out []string
	seen := map[string]bool{}
	for i, n := range names {
		path := fmt.Sprintf("spec.hosts[%d]", i)
		host := object.Host(n, c.namespace, c.mesh.ClusterDomain)
		switch {
		case !object.ValidHost(host):
			c.Fatal(path, object.InvalidValue, "%q is not a host; write a Service name, a DNS name or \"*.example.com\"", n)
		case host == "*" && contains(gateways, ir.MeshGateway):
			c.Fatal(path, object.InvalidValue, "\"*\" is allowed on gateways only; write the hosts, or set gateways without \"mesh\"")
		case seen[host]:
			c.Warn(path, object.Conflict, "%q is there already; remove one", n)
		default:
			seen[host] = true
			out = append(out, host)
		}
	}
	if len(names) == 0 {
		c.Fatal("spec.hosts", object.Missing, "a VirtualService needs a host: delegates, which have none, are not supported yet")
	}
	return out
}

func contains(list []string, word string) bool {
	for _, w := range list {
		if w == word {
			return true
		}
	}
	return false
}

// source reads the static conditions, which all kinds of rules share.
func (c *converter) source(path string, port uint32, labels map[string]string, gateways []string) ir.SourceMatch {
	out := ir.SourceMatch{Labels: ir.LabelsOf(labels)}
	if port != 0 {
		out.Port = c.Port(path+".port", port)
	}
	if len(gateways) > 0 {
		out.Gateways = c.gateways(gateways)
		// Labels do not apply where gateways are named. Source: Istio HTTPMatchRequest.
		out.Labels = nil
	}
	return out
}

// destination resolves the host and port of a destination.
func (c *converter) destination(path string, d *networkingv1alpha3.Destination) (host string, port uint16) {
	if d.GetHost() == "" {
		c.Fatal(path+".host", object.Missing, "a destination needs a host")
		return "", 0
	}
	host = object.Host(d.Host, c.namespace, c.mesh.ClusterDomain)
	if !object.ValidHost(host) || host == "*" {
		c.Fatal(path+".host", object.InvalidValue, "%q is not a host; write a Service name or a DNS name", d.Host)
	}
	if d.Port != nil {
		port = c.Port(path+".port.number", d.Port.Number)
	}
	return host, port
}

// weight reads the weight of one of n destinations, and says whether it gets traffic.
func (c *converter) weight(path string, weight int32, n int) (uint32, bool) {
	switch {
	case weight < 0:
		c.Fatal(path+".weight", object.InvalidValue, "%d is negative", weight)
		return 0, false
	case n == 1:
		// A single destination takes everything, whatever its weight says.
		return max(uint32(weight), 1), true
	}
	return uint32(weight), weight > 0
}
