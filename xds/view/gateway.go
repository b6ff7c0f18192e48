package view

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/internal/ports"
	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy/listener"
	"github.com/sluicemesh/sluice/xds/ir"
	"github.com/sluicemesh/sluice/xds/link"
	"github.com/sluicemesh/sluice/xds/names"
)

// Table is one listener of a gateway with the servers that share its routes.
type Table struct {
	Listener listener.Gateway
	Servers  []TableServer // of older gateways first
}

// TableServer is one server of a Gateway.
type TableServer struct {
	Gateway string // "<namespace>/<name>"
	Server  ir.Server
	From    problem.Origin
}

// Tables returns what the gateways open on the proxies of a class, by port and address,
// with the problems of servers that cannot be opened. gateways and services may hold
// others than those that concern the class.
func Tables(c class.Class, gateways []*ir.Gateway, services []*ir.Service) ([]Table, []problem.Problem) {
	labels := ir.Labels(c.LabelPairs())
	selected := slices.DeleteFunc(slices.Clone(gateways), func(g *ir.Gateway) bool { return !g.Selector.SubsetOf(labels) })
	slices.SortFunc(selected, func(a, b *ir.Gateway) int { return a.From.Compare(b.From) })
	fronts := slices.DeleteFunc(slices.Clone(services), func(s *ir.Service) bool {
		return len(s.Selector) == 0 || !s.Selector.SubsetOf(labels)
	})
	slices.SortFunc(fronts, func(a, b *ir.Service) int { return a.From.Compare(b.From) })
	var out []Table
	var problems []problem.Problem
	for _, g := range selected {
		for _, s := range g.Servers {
			port := target(c, fronts, s.Port)
			if why := refused(c, port); why != "" {
				problems = append(problems, problem.Problem{
					Origin: g.From, Path: fmt.Sprintf("spec.servers[%d].port", s.Index), Reason: "PortUnavailable", Fatal: true,
					Message: fmt.Sprintf("port %d %s; give the gateway's Service a port %d with another targetPort", port, why, s.Port),
				})
				continue
			}
			out = join(out, port, TableServer{Gateway: g.Namespace + "/" + g.Name, Server: s, From: g.From})
		}
	}
	slices.SortFunc(out, func(a, b Table) int { return strings.Compare(a.Listener.Route, b.Listener.Route) })
	return out, problems
}

// join puts a server to the others of its port and address.
func join(tables []Table, port uint16, s TableServer) []Table {
	l := listener.Gateway{Port: port, Route: names.GatewayRoute(port, s.Server.Bind)}
	if ip, err := netip.ParseAddr(s.Server.Bind); err == nil {
		l.Bind = ip
	}
	for i := range tables {
		if tables[i].Listener.Route == l.Route {
			tables[i].Servers = append(tables[i].Servers, s)
			return tables
		}
	}
	return append(tables, Table{Listener: l, Servers: []TableServer{s}})
}

// target is the container port behind the number a user writes: the target port of the
// oldest Service in front of the gateway that has such a port, else the number itself.
func target(c class.Class, fronts []*ir.Service, number uint16) uint16 {
	for _, s := range fronts {
		p, ok := s.Port(number)
		switch {
		case !ok:
		case p.TargetName != "":
			if n := c.NamedPort(p.TargetName); n != 0 {
				return n
			}
		case p.Target != 0:
			return p.Target
		}
	}
	return number
}

// refused says why a gateway cannot open a port, empty if it can.
func refused(c class.Class, port uint16) string {
	switch {
	case slices.Contains(append(reserved(), ports.EnvoyAdmin, ports.AgentStatus), port):
		return "belongs to the proxy itself"
	case c.Unprivileged && port < 1024:
		return "needs privileges that the proxy does not have"
	}
	return ""
}

// GatewayHost is one virtual host of a gateway's table.
type GatewayHost struct {
	Domain     string
	Port       uint16 // that users name
	RequireTLS bool
	Rules      []GatewayRule
	From       []problem.Origin
}

// GatewayRule is one rule of a VirtualService.
type GatewayRule struct {
	Service  *ir.VirtualService
	Position int // in Service.HTTP
	Gateway  string
}

// Hosts returns the virtual hosts of a table, sorted by domain: for each host of a server
// and each VirtualService bound to its gateway the narrower of the two, with the rules of
// all VirtualServices for it, older first and what matches everything last. bound returns
// the VirtualServices that name a gateway, in any order.
func (t Table) Hosts(c class.Class, bound func(gateway string) []*ir.VirtualService) []GatewayHost {
	hosts := map[string]*GatewayHost{}
	for _, s := range t.Servers {
		services := slices.DeleteFunc(slices.Clone(bound(s.Gateway)), func(v *ir.VirtualService) bool {
			return !v.ExportTo.VisibleTo(v.Namespace, c.Namespace)
		})
		slices.SortFunc(services, func(a, b *ir.VirtualService) int { return a.From.Compare(b.From) })
		for _, sh := range s.Server.Hosts {
			if s.Server.HTTPSRedirect {
				s.host(hosts, sh.Host)
			}
			for _, v := range services {
				if sh.Namespace == "" || sh.Namespace == v.Namespace {
					s.bind(c, hosts, sh.Host, v)
				}
			}
		}
	}
	out := make([]GatewayHost, 0, len(hosts))
	for _, h := range hosts {
		slices.SortStableFunc(h.Rules, byAge)
		if len(h.From) > 1 {
			slices.SortStableFunc(h.Rules, catchAllLast)
		}
		out = append(out, *h)
	}
	slices.SortFunc(out, func(a, b GatewayHost) int { return strings.Compare(a.Domain, b.Domain) })
	return out
}

func (s TableServer) host(hosts map[string]*GatewayHost, domain string) *GatewayHost {
	h := hosts[domain]
	if h == nil {
		h = &GatewayHost{Domain: domain, Port: s.Server.Port, RequireTLS: s.Server.HTTPSRedirect}
		hosts[domain] = h
	}
	return h
}

// bind adds the rules of v to the hosts that it shares with a server.
func (s TableServer) bind(c class.Class, hosts map[string]*GatewayHost, serverHost string, v *ir.VirtualService) {
	source := link.Source{Gateway: s.Gateway, Port: s.Server.Port, Namespace: c.Namespace, Labels: c.LabelPairs()}
	positions, _ := source.Rules(v)
	if len(positions) == 0 {
		return
	}
	for _, vh := range v.Hosts {
		domain := vh
		switch {
		case link.Covers(serverHost, vh):
		case link.Covers(vh, serverHost):
			domain = serverHost
		default:
			continue
		}
		h := s.host(hosts, domain)
		if slices.Contains(h.From, v.From) {
			continue // another server or host led here already
		}
		h.From = append(h.From, v.From)
		for _, p := range positions {
			h.Rules = append(h.Rules, GatewayRule{Service: v, Position: p, Gateway: s.Gateway})
		}
	}
}

func byAge(a, b GatewayRule) int {
	if a.Service == b.Service {
		return 0
	}
	return a.Service.From.Compare(b.Service.From)
}

func catchAllLast(a, b GatewayRule) int {
	x, y := a.Service.HTTP[a.Position].Match.CatchAll(), b.Service.HTTP[b.Position].Match.CatchAll()
	switch {
	case x == y:
		return 0
	case x:
		return 1
	}
	return -1
}
