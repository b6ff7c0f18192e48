// Package route builds virtual hosts, and the route tables' shells without them.
//
// The virtual host is the unit that is built, versioned and sent; tables are joined from
// their bytes (internal/routetable). The parameters of a builder are its cache key;
// messages returned are new and owned by the caller. The package is pure.
package route

import (
	"net/netip"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/ir"
)

// Target is a destination resolved to a cluster.
type Target struct {
	// Cluster is the name; Envoy answers 503 while there is no such cluster.
	Cluster string
	// Sniffed says that the destination's port has no declared protocol: its cluster speaks
	// what the client speaks, and the route tells the peer which by ALPN.
	Sniffed bool
	// Hash is the consistent hash of the destination's policy, nil for none.
	Hash *ir.HashOn
}

// Rule is one route with what its destinations resolved to.
type Rule struct {
	Route ir.Route
	// Targets are parallel to Route.Backends.
	Targets []Target
	// Mirrors are parallel to Route.Mirrors: names of clusters.
	Mirrors []string
	// From is the VirtualService.
	From problem.Origin
}

// VirtualHost is one host of a route table.
type VirtualHost struct {
	Name    string   // names.VirtualHost
	Domains []string // unique within the table, not empty
	// Port is the one that clients use: the listener's, or the service port's.
	Port uint16
	// Rules in the order of evaluation. Those after the first that matches every request
	// are left out.
	Rules []Rule
	// Router is set for gateways.
	Router bool
	// RequireTLS redirects plain requests to https (Server.HTTPSRedirect).
	RequireTLS bool
}

// Build returns the virtual host of VirtualService routes.
func Build(v VirtualHost) *routev3.VirtualHost { panic("not built yet") }

// Default returns the virtual host of a service port that no VirtualService claims.
// v.Rules is not read.
func Default(v VirtualHost, t Target) *routev3.VirtualHost { panic("not built yet") }

// CatchAll returns the virtual host for requests to unknown hosts: allow_any, which sends
// them where they were going, or block_all, which answers 502.
func CatchAll(mode ir.OutboundMode) *routev3.VirtualHost { panic("not built yet") }

// Blackhole returns the virtual host "blackhole:<port>" that answers 404 on a gateway port
// without any route.
func Blackhole(port uint16) *routev3.VirtualHost { panic("not built yet") }

// Shell returns the route table of that name without virtual hosts.
func Shell(name string) *routev3.RouteConfiguration { panic("not built yet") }

// Host is what the domains of a virtual host are made from.
type Host struct {
	Name      string // full host name, or wildcard
	Headless  bool
	Addresses []netip.Prefix // those of a single address become domains
}

// HostOf returns the Host of a service.
func HostOf(s ir.Service) Host {
	return Host{Name: s.ID.Host, Headless: s.Headless, Addresses: s.Addresses}
}

// Client is where the asking proxy lives.
type Client struct {
	Namespace string
	DNSDomain string // what follows the namespace: "svc.cluster.local"
}

// Domains returns the names under which clients reach h, the full name first, unique.
func Domains(h Host, c Client) []string { panic("not built yet") }
