// Package destinationrule converts DestinationRules. The package is pure.
package destinationrule

import (
	"fmt"
	"maps"
	"slices"

	networkingv1alpha3 "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/api/object"
	"github.com/sluicemesh/sluice/xds/ir"
)

// policyFields are the fields of one policy that Convert reads; % is the place of its
// path.
const policyFields = `%.loadBalancer.simple %.loadBalancer.consistentHash.httpHeaderName
	%.loadBalancer.consistentHash.httpCookie.name %.loadBalancer.consistentHash.httpCookie.path
	%.loadBalancer.consistentHash.httpCookie.ttl.* %.loadBalancer.consistentHash.useSourceIp
	%.loadBalancer.consistentHash.httpQueryParameterName %.loadBalancer.consistentHash.ringHash.*
	%.loadBalancer.consistentHash.maglev.* %.loadBalancer.consistentHash.minimumRingSize
	%.connectionPool.tcp.maxConnections %.connectionPool.tcp.connectTimeout.* %.connectionPool.tcp.tcpKeepalive.*
	%.connectionPool.tcp.idleTimeout.* %.connectionPool.http.http1MaxPendingRequests
	%.connectionPool.http.http2MaxRequests %.connectionPool.http.maxRequestsPerConnection
	%.connectionPool.http.maxRetries %.connectionPool.http.idleTimeout.* %.connectionPool.http.h2UpgradePolicy
	%.connectionPool.http.useClientProtocol
	%.outlierDetection.splitExternalLocalOriginErrors %.outlierDetection.consecutiveLocalOriginFailures.*
	%.outlierDetection.consecutiveGatewayErrors.* %.outlierDetection.consecutive5xxErrors.*
	%.outlierDetection.interval.* %.outlierDetection.baseEjectionTime.* %.outlierDetection.maxEjectionPercent
	%.outlierDetection.minHealthPercent
	%.tls.mode %.tls.clientCertificate %.tls.privateKey %.tls.caCertificates %.tls.subjectAltNames %.tls.sni
	%.tls.insecureSkipVerify.* %.tls.credentialName %.port.number `

// Convert returns the rule. ok is false when it cannot be programmed.
func Convert(r *networkingv1.DestinationRule, mesh ir.Mesh) (out ir.DestinationRule, ok bool, problems []problem.Problem) {
	c := &converter{Notes: object.Notes{Origin: object.Origin("DestinationRule.networking.istio.io", r)}}
	c.Unsupported(&r.Spec, supported())
	out = ir.DestinationRule{
		Namespace: r.Namespace, Name: r.Name, Host: object.Host(r.Spec.Host, r.Namespace, mesh.ClusterDomain),
		ExportTo: c.ExportTo("spec.exportTo", r.Spec.ExportTo), From: c.Origin,
	}
	switch {
	case r.Spec.Host == "":
		c.Fatal("spec.host", object.Missing, "a DestinationRule needs a host")
	case !object.ValidHost(out.Host):
		c.Fatal("spec.host", object.InvalidValue, "%q is not a host; write a Service name, a DNS name or \"*.example.com\"", r.Spec.Host)
	}
	if len(r.Spec.WorkloadSelector.GetMatchLabels()) > 0 {
		c.Fatal("spec.workloadSelector", object.NotSupported, "rules for some clients only are not supported yet; remove it, or keep the rule private to a namespace with exportTo")
	}
	top := c.policy("spec.trafficPolicy", r.Spec.TrafficPolicy)
	out.Policy = c.set(top)
	seen := map[string]bool{}
	for i, s := range r.Spec.Subsets {
		path := fmt.Sprintf("spec.subsets[%d]", i)
		switch {
		case s.Name == "":
			c.Fatal(path+".name", object.Missing, "a subset needs a name")
		case seen[s.Name]:
			c.Warn(path+".name", object.Conflict, "subset %q is there already; this one is ignored, rename it", s.Name)
			continue
		}
		seen[s.Name] = true
		own := c.policy(path+".trafficPolicy", s.TrafficPolicy)
		out.Subsets = append(out.Subsets, ir.Subset{
			Name: s.Name, Labels: ir.LabelsOf(s.Labels), Policy: c.set(over(top, own)),
		})
	}
	return out, !c.Failed(0), c.Problems
}

type converter struct{ object.Notes }

func supported() object.Supported {
	// Tunnels and credentials have refusals of their own.
	list := "host exportTo workloadSelector.* subsets.name subsets.labels trafficPolicy.tunnel.* subsets.trafficPolicy.tunnel.* "
	for _, at := range []string{
		"trafficPolicy", "trafficPolicy.portLevelSettings",
		"subsets.trafficPolicy", "subsets.trafficPolicy.portLevelSettings",
	} {
		for _, r := range policyFields {
			if r == '%' {
				list += at
			} else {
				list += string(r)
			}
		}
	}
	return object.Fields(list)
}

// blocks are the parts of a policy that override one another as a whole.
type blocks struct {
	balancer *networkingv1alpha3.LoadBalancerSettings
	pool     *networkingv1alpha3.ConnectionPoolSettings
	outlier  *networkingv1alpha3.OutlierDetection
	tls      *networkingv1alpha3.ClientTLSSettings
	// paths of the policies that the blocks were written in, in the order above
	paths [4]string
}

func at(path string) [4]string { return [4]string{path, path, path, path} }

// policy is a policy with its port levels, as written.
type policy struct {
	set   bool
	all   blocks
	ports map[uint16]blocks
}

func (c *converter) policy(path string, p *networkingv1alpha3.TrafficPolicy) policy {
	if p == nil {
		return policy{}
	}
	if p.Tunnel != nil {
		c.Fatal(path+".tunnel", object.NotSupported, "tunnels are not supported yet; traffic would leave without one")
	}
	out := policy{
		set: true, ports: map[uint16]blocks{},
		all: blocks{p.LoadBalancer, p.ConnectionPool, p.OutlierDetection, p.Tls, at(path)},
	}
	for i, l := range p.PortLevelSettings {
		level := fmt.Sprintf("%s.portLevelSettings[%d]", path, i)
		if number := c.Port(level+".port.number", l.GetPort().GetNumber()); number != 0 {
			out.ports[number] = blocks{l.LoadBalancer, l.ConnectionPool, l.OutlierDetection, l.Tls, at(level)}
		}
	}
	return out
}

// over lays a subset's policy over the rule's: a port entry replaces everything for its
// port, the rest overrides block by block.
// Source: Istio DestinationRule, subset and port-level settings.
func over(top, own policy) policy {
	if !own.set {
		return top
	}
	out := policy{set: true, all: cover(top.all, own.all), ports: map[uint16]blocks{}}
	for port, b := range top.ports {
		out.ports[port] = cover(b, own.all)
	}
	for port, b := range own.ports {
		out.ports[port] = b
	}
	return out
}

func cover(below, above blocks) blocks {
	out := below
	if above.balancer != nil {
		out.balancer, out.paths[0] = above.balancer, above.paths[0]
	}
	if above.pool != nil {
		out.pool, out.paths[1] = above.pool, above.paths[1]
	}
	if above.outlier != nil {
		out.outlier, out.paths[2] = above.outlier, above.paths[2]
	}
	if above.tls != nil {
		out.tls, out.paths[3] = above.tls, above.paths[3]
	}
	return out
}

// set converts the assembled policy.
func (c *converter) set(p policy) ir.PolicySet {
	var out ir.PolicySet
	if !p.set {
		return out
	}
	all := c.convert(p.all)
	out.Default = &all
	for _, port := range slices.Sorted(maps.Keys(p.ports)) {
		if out.Ports == nil {
			out.Ports = map[uint16]ir.TrafficPolicy{}
		}
		out.Ports[port] = c.convert(p.ports[port])
	}
	return out
}
