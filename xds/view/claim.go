package view

import (
	"net/netip"
	"slices"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/envoy/listener"
	"github.com/sluicemesh/sluice/xds/ir"
	"github.com/sluicemesh/sluice/xds/link"
	"github.com/sluicemesh/sluice/xds/names"
)

// Claim is what one service port asks of the listener at an address and port.
type Claim struct {
	// Bind is the address; the zero value stands for all addresses.
	Bind netip.Addr
	// Also are further addresses of the same service.
	Also     []netip.Addr
	Port     uint16
	Protocol ir.Protocol
	Route    string            // table of its HTTP traffic, empty if it has none
	Streams  []listener.Stream // what to do with everything else
	Host     string
	From     problem.Origin
}

// Bind identifies a listener.
type Bind struct {
	Addr netip.Addr
	Port uint16
}

// Ports is a service as one scope sees it, with what its listeners depend on.
type Ports struct {
	Scope   Scope
	Service *ir.Service
	Rule    *link.Rule         // nil: none
	Routes  *ir.VirtualService // nil: none
	// Endpoints are those of a port; asked for headless services only.
	Endpoints func(port uint16) []ir.Endpoint
	// Cluster resolves a destination of a stream route to the name of its cluster.
	Cluster func(b ir.Backend, port uint16) string
}

// Claims returns the claims of every port of the service.
func (p Ports) Claims() []Claim {
	if p.Scope.Router {
		return nil
	}
	var out []Claim
	seen := map[uint16]bool{}
	for _, port := range p.Service.Ports {
		if port.Protocol == ir.UDP || seen[port.Number] {
			continue
		}
		seen[port.Number] = true
		for _, c := range p.claims(port) {
			if c.Bind.IsValid() || p.Scope.Opens(port.Number) {
				out = append(out, c)
			}
		}
	}
	return out
}

func (p Ports) claims(port ir.Port) []Claim {
	base := Claim{Port: port.Number, Protocol: port.Protocol, Host: p.Service.ID.Host, From: p.Service.From}
	if port.Protocol.IsHTTP() {
		base.Route = names.PortRoute(port.Number)
		return []Claim{base}
	}
	addrs, networks := p.Scope.split(p.Service.Addresses)
	if p.Service.Resolution == ir.Passthrough && p.perEndpoint() {
		addrs = p.endpointAddrs(port.Number)
		if len(addrs) == 0 {
			return nil
		}
	}
	if p.Scope.Bound() {
		// Without interception there is no original address to tell services apart.
		addrs = nil
	}
	shared := len(addrs) == 0
	base.Streams = p.streams(port, shared, networks)
	if port.Protocol == ir.Auto {
		base.Route = names.VirtualHost(p.Service.ID.Host, port.Number)
		if shared {
			base.Route = names.PortRoute(port.Number)
		}
	}
	switch {
	case shared:
		return []Claim{base}
	case p.Service.Resolution == ir.Passthrough && p.perEndpoint():
		out := make([]Claim, 0, len(addrs))
		for _, a := range addrs {
			c := base
			c.Bind = a
			out = append(out, c)
		}
		return out
	}
	base.Bind, base.Also = addrs[0], addrs[1:]
	return []Claim{base}
}

// perEndpoint reports whether the service has no address of its own, so that each
// endpoint's address is one that clients dial. A ServiceEntry without addresses and
// endpoints means whatever is dialled on its port.
func (p Ports) perEndpoint() bool {
	return p.Service.Headless || len(p.Service.Addresses) == 0 && len(p.Service.Selector) > 0
}

func (p Ports) endpointAddrs(port uint16) []netip.Addr {
	var out []netip.Addr
	for _, e := range p.Endpoints(port) {
		ip, err := netip.ParseAddr(e.Address)
		if err == nil && e.Health == ir.Healthy && p.Scope.has(ip) && !slices.Contains(out, ip) {
			out = append(out, ip)
		}
	}
	return out
}

// streams are the chains for what is not HTTP. shared says that other services have the
// same address.
func (p Ports) streams(port ir.Port, shared bool, networks []netip.Prefix) []listener.Stream {
	policy := p.Rule.For("", port.Number)
	base := listener.Stream{
		Subnets: networks, IdleTimeout: policy.TCPIdleTimeout, HashSource: policy.Hash != nil && policy.Hash.SourceIP,
	}
	var out []listener.Stream
	if p.Routes != nil {
		out = p.routed(port, base)
	}
	own := base
	own.Clusters = []listener.WeightedCluster{{Name: names.Outbound{Port: port.Number, Host: p.Service.ID.Host}.String()}}
	if port.Protocol.IsTLS() && (shared || len(networks) > 0) {
		own.SNI = []string{p.Service.ID.Host}
	}
	return appendNew(out, own)
}

// routed are the chains of the VirtualService that owns the host: TLS routes on any port
// that is not HTTP, TCP routes on those where bytes are only forwarded.
func (p Ports) routed(port ir.Port, base listener.Stream) []listener.Stream {
	source := link.Source{Gateway: ir.MeshGateway, Port: port.Number, Namespace: p.Scope.Namespace}
	var out []listener.Stream
	add := func(r ir.StreamRoute) {
		if ok, _ := source.Applies(r.Source); !ok {
			return
		}
		s := base
		s.SNI = r.SNI
		if subnets := parse(r.Subnets); len(subnets) > 0 {
			s.Subnets = subnets
		}
		for _, b := range r.Backends {
			s.Clusters = append(s.Clusters, listener.WeightedCluster{Name: p.Cluster(b, port.Number), Weight: b.Weight})
		}
		if len(s.Clusters) > 1 {
			s.StatPrefix = p.Routes.Name + "." + p.Routes.Namespace
		}
		out = appendNew(out, s)
	}
	if port.Protocol.IsTLS() || port.Protocol == ir.Auto || port.Protocol == ir.TCP {
		for _, r := range p.Routes.TLS {
			add(r)
		}
	}
	if !port.Protocol.IsTLS() {
		for _, r := range p.Routes.TCP {
			add(r)
		}
	}
	return out
}

func parse(words []string) []netip.Prefix {
	var out []netip.Prefix
	for _, w := range words {
		if p, err := netip.ParsePrefix(w); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// appendNew adds s unless a chain with the same conditions is there: the first counts. Of
// a chain whose conditions partly are, the new ones stay.
func appendNew(out []listener.Stream, s listener.Stream) []listener.Stream {
	for _, o := range out {
		if slices.Equal(o.Subnets, s.Subnets) {
			if len(s.SNI) == 0 && len(o.SNI) == 0 {
				return out
			}
			if len(s.SNI) > 0 {
				s.SNI = slices.DeleteFunc(slices.Clone(s.SNI), func(n string) bool { return slices.Contains(o.SNI, n) })
				if len(s.SNI) == 0 {
					return out
				}
			}
		}
	}
	return append(out, s)
}

// Fold makes the listener of all claims at one address and port, oldest claim first: who
// comes first keeps what two want. The problems name who lost what.
// Source: Istio, conflicts of outbound listeners.
func Fold(bind Bind, claims []*Claim) (listener.Outbound, []problem.Problem) {
	out := listener.Outbound{Port: bind.Port}
	var problems []problem.Problem
	if bind.Addr.IsValid() {
		out.Addresses = append([]netip.Addr{bind.Addr}, claims[0].Also...)
	}
	first := claims[0]
	for _, c := range claims {
		if c != first && c.Protocol != first.Protocol && (alone(c.Protocol) || alone(first.Protocol)) {
			problems = append(problems, lost(c, first))
			continue
		}
		if out.Route == "" {
			out.Route = c.Route
		}
		before := len(out.Streams)
		for _, s := range c.Streams {
			out.Streams = appendNew(out.Streams, s)
		}
		if c.Protocol.IsTCP() && len(out.Streams) == before {
			problems = append(problems, lost(c, first))
		}
	}
	return out, problems
}

// alone reports whether a protocol cannot share its port with another.
func alone(p ir.Protocol) bool { return p == ir.Mongo || p == ir.MySQL }

func lost(c, first *Claim) problem.Problem {
	return problem.Problem{
		Origin: c.From, Path: "spec.ports", Reason: "PortConflict",
		Message: "port " + names.PortRoute(c.Port) + " of " + c.Host + " cannot be told from that of the older " + first.Host +
			" at the same address; give it an address of its own, another port, or a protocol with names (HTTP, TLS)",
	}
}
