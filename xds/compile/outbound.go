package compile

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/internal/routetable"
	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy/cluster"
	"github.com/sluicemesh/sluice/xds/envoy/name"
	"github.com/sluicemesh/sluice/xds/envoy/route"
	"github.com/sluicemesh/sluice/xds/incr"
	"github.com/sluicemesh/sluice/xds/ir"
	"github.com/sluicemesh/sluice/xds/link"
	"github.com/sluicemesh/sluice/xds/names"
)

type pair = incr.Pair[ownerID, string]
type scopedHost = incr.Both[scope, *link.Host]

// sight is one host as one scope sees it.
type sight struct {
	n       *nodes
	ctx     *incr.Ctx
	scope   scope
	mesh    ir.Mesh
	key     cluster.Key
	host    *link.Host
	service *ir.Service // nil: none is visible
	rule    *link.Rule
	routes  *ir.VirtualService
	wants   wants
}

// see returns nil when the scope sees nothing of the host.
func (n *nodes) see(ctx *incr.Ctx, v scopedHost) *sight {
	s := &sight{n: n, ctx: ctx, scope: v.A, host: v.B, wants: wants{owner: v.A.id}}
	s.mesh, _ = incr.Get(ctx, n.mesh, unit{})
	s.key = cluster.KeyOf(s.mesh, s.scope.Families, s.scope.Router)
	s.service = s.host.Service(s.scope.Namespace)
	s.routes = s.host.Route(s.scope.Namespace)
	if s.service == nil && s.routes == nil {
		return nil
	}
	s.rule = s.host.Rule(s.scope.Namespace, s.mesh.RootNamespace, s.service)
	return s
}

// outbound is what a scope has because of one host: its names for DNS, clusters, their
// endpoints, virtual hosts and, for ports whose protocol the proxy finds out, a route table
// per port.
func (n *nodes) outbound(ctx *incr.Ctx, _ pair, v scopedHost) []wantEntry {
	s := n.see(ctx, v)
	if s == nil {
		return nil
	}
	if s.service == nil {
		s.routesOnly()
		return s.wants.list
	}
	if s.scope.Names {
		s.wants.add(hostNames, s.host.Name, nameRecipe{s.service, name.Key{Families: s.scope.Families}})
	}
	seen := map[uint16]bool{}
	for _, p := range s.service.Ports {
		if p.Protocol == ir.UDP || seen[p.Number] {
			continue
		}
		seen[p.Number] = true
		s.cluster(p, "")
		if s.rule != nil {
			for _, sub := range s.rule.Subsets {
				s.cluster(p, sub.Name)
			}
		}
		if !s.scope.Router {
			s.hosts(p)
		}
	}
	return s.wants.list
}

func (s *sight) cluster(p ir.Port, subset string) {
	r := clusterRecipe{service: s.service, port: p.Number, subset: subset, rule: s.rule, key: s.key}
	name := names.Outbound{Port: p.Number, Subset: subset, Host: s.host.Name}.String()
	s.wants.add(clusters, name, r)
	o := r.outbound()
	if cluster.UsesEDS(o, s.key) {
		s.wants.add(assignments, name, r.endpoints(cluster.MarksPlain(o, s.key)))
	}
}

// hosts are the virtual hosts of one port. A port that is HTTP has one in the table of its
// number; one whose protocol the proxy finds out has a table of its own when it has an
// address of its own, and one in the shared table when there is one.
func (s *sight) hosts(p ir.Port) {
	opens := s.scope.Opens(p.Number)
	if p.Protocol.IsHTTP() && opens {
		s.virtualHost(names.PortRoute(p.Number), p.Number, s.domains(p.Number))
		return
	}
	if p.Protocol != ir.Auto {
		return
	}
	if s.ownAddress() && !s.scope.Bound() {
		table := names.VirtualHost(s.host.Name, p.Number)
		s.wants.add(tables, table, shellRecipe{table})
		s.virtualHost(table, p.Number, []string{"*"})
		if http, _ := incr.Get(s.ctx, s.n.index.httpPorts, p.Number); !http.visibleTo(s.scope.Namespace) {
			return
		}
	}
	if opens {
		s.virtualHost(names.PortRoute(p.Number), p.Number, s.domains(p.Number))
	}
}

// ownAddress reports whether clients dial an address that tells the service from others.
func (s *sight) ownAddress() bool {
	if s.service.Headless || s.service.Resolution == ir.Passthrough && len(s.service.Selector) > 0 {
		return true
	}
	return slices.ContainsFunc(s.service.Addresses, func(p netip.Prefix) bool {
		return p.IsSingleIP() && s.scope.Families&familyOf(p.Addr()) != 0
	})
}

func familyOf(ip netip.Addr) class.Families {
	if ip.Is4() {
		return class.IPv4
	}
	return class.IPv6
}

// routesOnly is a host that VirtualServices name and no service has: it exists on port 80.
func (s *sight) routesOnly() {
	if s.scope.Router || !s.scope.Opens(80) {
		return
	}
	s.virtualHost(names.PortRoute(80), 80, s.domains(80))
}

// virtualHost adds the host to a table: with the routes of its VirtualService if one
// holds, else with the default route.
func (s *sight) virtualHost(table string, port uint16, domains []string) {
	name := names.VirtualHost(s.host.Name, port)
	base := hostRecipe{table: table, name: name, port: port, domains: strings.Join(domains, ",")}
	at := routetable.HostName(table, name)
	source := link.Source{Gateway: ir.MeshGateway, Port: port, Namespace: s.scope.Namespace}
	if s.routes != nil {
		positions, byLabels := source.Rules(s.routes)
		if byLabels {
			s.perClass(at, base, source)
			return
		}
		if len(positions) > 0 {
			s.wants.add(virtualHosts, at, s.routed(base, positions))
			return
		}
	}
	if s.service != nil {
		s.wants.add(virtualHosts, at, s.plain(base))
	}
}

// perClass adds a virtual host whose routes depend on the labels of the source to each
// class of the scope rather than to the scope.
func (s *sight) perClass(at string, base hostRecipe, source link.Source) {
	for _, m := range incr.Lookup(s.ctx, s.n.classesOf, s.scope.id) {
		source.Labels = m.class.LabelPairs()
		positions, _ := source.Rules(s.routes)
		switch {
		case len(positions) > 0:
			s.wants.addTo(m.id, virtualHosts, at, s.routed(base, positions))
		case s.service != nil:
			s.wants.addTo(m.id, virtualHosts, at, s.plain(base))
		}
	}
}

func (s *sight) plain(base hostRecipe) recipe {
	p, _ := s.service.Port(base.port)
	return plainHostRecipe{base, s.service, targetOf(link.Target{Service: s.service, Port: p, Rule: s.rule}, s.host.Name, "", s.key)}
}

func (s *sight) routed(base hostRecipe, positions []int) recipe {
	rules := make([]ruleRecipe, len(positions))
	for i, p := range positions {
		rules[i] = s.n.rule(s.ctx, s.client(base.port), s.routes, p)
	}
	return routedHostRecipe{hostRecipe: base, rules: listOf(rules)}
}

func (s *sight) client(port uint16) client {
	return client{s.scope.Namespace, port, s.mesh.RootNamespace, s.key}
}

// domains are the names of the host in the table of a port, without those that belong to
// somebody else.
func (s *sight) domains(port uint16) []string {
	h := route.Host{Name: s.host.Name}
	if s.service != nil {
		h = route.HostOf(*s.service)
		h.Addresses = slices.DeleteFunc(slices.Clone(h.Addresses), func(p netip.Prefix) bool {
			return p.IsSingleIP() && (s.scope.Families&familyOf(p.Addr()) == 0 || s.addressTaken(p.Addr(), port))
		})
	}
	all := route.Domains(h, s.routeClient())
	first, _, _ := strings.Cut(s.host.Name, ".")
	rivals := incr.Lookup(s.ctx, s.n.index.foreign, first)
	if len(rivals) == 0 && !h.Headless {
		return all
	}
	return slices.DeleteFunc(all, func(d string) bool { return d != s.host.Name && s.nameTaken(d, rivals) })
}

func (s *sight) routeClient() route.Client {
	return route.Client{Namespace: s.scope.Namespace, DNSDomain: s.scope.DNSDomain}
}

// nameTaken reports whether a domain that is made from the host's name is the full name of
// another host, or a short form of one that goes first: services of the cluster before
// others, then by name.
func (s *sight) nameTaken(domain string, rivals objects) bool {
	if s.exists(domain) {
		return true
	}
	if strings.HasSuffix(s.host.Name, "."+s.scope.DNSDomain) {
		return false
	}
	full := strings.TrimSuffix(domain, ".svc")
	if !strings.Contains(full, ".") {
		full += "." + s.scope.Namespace
	}
	if full += "." + s.scope.DNSDomain; full != s.host.Name && s.exists(full) {
		return true
	}
	for _, o := range rivals {
		for _, other := range hostsOf(o) {
			if other < s.host.Name && s.exists(other) && slices.Contains(route.Domains(route.Host{Name: other}, s.routeClient()), domain) {
				return true
			}
		}
	}
	return false
}

// exists reports whether the scope has a virtual host of that name.
func (s *sight) exists(host string) bool {
	h, ok := incr.Get(s.ctx, s.n.hosts, host)
	return ok && (h.Service(s.scope.Namespace) != nil || h.Route(s.scope.Namespace) != nil)
}

// addressTaken reports whether an older service has the same address on the same port, or
// a host that is the address itself.
func (s *sight) addressTaken(ip netip.Addr, port uint16) bool {
	group := incr.Lookup(s.ctx, s.n.index.addresses, ip)
	if len(group) == 1 {
		return false
	}
	if s.host.Name != ip.String() && s.exists(ip.String()) {
		return true
	}
	for _, o := range group {
		for i := range o.Services {
			other := &o.Services[i]
			if other.ID.Host == s.host.Name {
				continue
			}
			_, sharesPort := other.Port(port)
			older := other.From.Compare(s.service.From) < 0 || other.From == s.service.From && other.ID.Host < s.host.Name
			has := slices.Contains(other.Addresses, netip.PrefixFrom(ip, ip.BitLen()))
			if sharesPort && older && has && other.ExportTo.VisibleTo(other.ID.Namespace, s.scope.Namespace) {
				return true
			}
		}
	}
	return false
}
