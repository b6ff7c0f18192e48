package virtualservice

import (
	"fmt"
	"net/netip"
	"strings"

	networkingv1alpha3 "istio.io/api/networking/v1alpha3"

	"github.com/sluicemesh/sluice/xds/api/object"
	"github.com/sluicemesh/sluice/xds/ir"
)

// tls converts one rule for TLS connections: a route per match, of which there is one at
// least.
func (c *converter) tls(path string, r *networkingv1alpha3.TLSRoute) []ir.StreamRoute {
	backends := c.streamBackends(path, r.Route)
	if len(r.Match) == 0 {
		c.Fatal(path+".match", object.Missing, "a TLS rule needs a match with sniHosts")
	}
	var out []ir.StreamRoute
	for i, m := range r.Match {
		at := fmt.Sprintf("%s.match[%d]", path, i)
		route := ir.StreamRoute{
			Source: c.source(at, m.Port, m.SourceLabels, m.Gateways), Subnets: c.subnets(at, m.DestinationSubnets), Backends: backends,
		}
		route.Source.Namespace = m.SourceNamespace
		c.noLabels(at, route.Source)
		if len(m.SniHosts) == 0 {
			c.Fatal(at+".sniHosts", object.Missing, "a TLS match needs sniHosts")
		}
		for j, sni := range m.SniHosts {
			sni = strings.ToLower(sni)
			if !object.ValidHost(sni) {
				c.Fatal(fmt.Sprintf("%s.sniHosts[%d]", at, j), object.InvalidValue, "%q is not a host; write a DNS name, \"*.example.com\" or \"*\"", sni)
			}
			route.SNI = append(route.SNI, sni)
		}
		out = append(out, route)
	}
	return out
}

// tcp converts one rule for plain connections: a route per match, one without conditions
// if there is none.
func (c *converter) tcp(path string, r *networkingv1alpha3.TCPRoute) []ir.StreamRoute {
	backends := c.streamBackends(path, r.Route)
	if len(r.Match) == 0 {
		return []ir.StreamRoute{{Backends: backends}}
	}
	var out []ir.StreamRoute
	for i, m := range r.Match {
		at := fmt.Sprintf("%s.match[%d]", path, i)
		route := ir.StreamRoute{
			Source: c.source(at, m.Port, m.SourceLabels, m.Gateways), Subnets: c.subnets(at, m.DestinationSubnets), Backends: backends,
		}
		route.Source.Namespace = m.SourceNamespace
		c.noLabels(at, route.Source)
		if m.SourceSubnet != "" {
			c.Fatal(at+".sourceSubnet", object.NotSupported, "the source address cannot be matched; remove the match or the field")
		}
		out = append(out, route)
	}
	return out
}

// noLabels refuses conditions on labels: listeners are shared by the pods of a namespace.
func (c *converter) noLabels(path string, s ir.SourceMatch) {
	if len(s.Labels) > 0 {
		c.Fatal(path+".sourceLabels", object.NotSupported, "source labels are supported for HTTP only; use sourceNamespace")
	}
}

func (c *converter) subnets(path string, words []string) []string {
	var out []string
	for i, text := range words {
		prefix, err := netip.ParsePrefix(text)
		if ip, addrErr := netip.ParseAddr(text); err != nil && addrErr == nil {
			prefix, err = netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		if err != nil {
			c.Fatal(fmt.Sprintf("%s.destinationSubnets[%d]", path, i), object.InvalidValue, "%q is neither an IP address nor a prefix in CIDR form", text)
			continue
		}
		out = append(out, prefix.Masked().String())
	}
	return out
}

func (c *converter) streamBackends(path string, ds []*networkingv1alpha3.RouteDestination) []ir.Backend {
	var out []ir.Backend
	for i, d := range ds {
		at := fmt.Sprintf("%s.route[%d]", path, i)
		host, port := c.destination(at+".destination", d.Destination)
		weight, used := c.weight(at, d.Weight, len(ds))
		if used {
			out = append(out, ir.Backend{Host: host, Subset: d.Destination.GetSubset(), Port: port, Weight: weight})
		}
	}
	c.needBackend(path, len(ds), len(out))
	return out
}

// needBackend refuses a rule without destination, or whose weights are all zero.
func (c *converter) needBackend(path string, written, used int) {
	switch {
	case written == 0:
		c.Fatal(path+".route", object.Missing, "the rule needs a destination")
	case used == 0:
		c.Fatal(path+".route", object.InvalidValue, "all weights are zero, so that nothing gets traffic; give one a weight")
	}
}
