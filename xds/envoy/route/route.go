// Package route builds virtual hosts, and the route tables' shells without them.
//
// The virtual host is the unit that is built, versioned and sent; tables are joined from
// their bytes (internal/routetable). The parameters of a builder are its cache key;
// messages returned are new and owned by the caller. The package is pure.
package route

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/envoy/tlscontext"
	"github.com/sluicemesh/sluice/xds/ir"
	"github.com/sluicemesh/sluice/xds/names"
)

// maxDirectBody is the longest body of a direct response, 1 MiB.
const maxDirectBody = 1 << 20

// Target is a destination resolved to a cluster.
type Target struct {
	// Cluster is the name; Envoy answers 503 while there is no such cluster.
	Cluster string
	// ALPN is cluster.RouteALPN of the destination.
	ALPN tlscontext.ALPN
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
	// RequireTLS redirects plain requests to https (Server.HTTPSRedirect).
	RequireTLS bool
}

// Build returns the virtual host of VirtualService routes. Requests that no rule matches
// are answered 404.
func Build(v VirtualHost) *routev3.VirtualHost {
	vh := host(v.Name, v.Domains)
	if v.RequireTLS {
		vh.RequireTls = routev3.VirtualHost_ALL
	}
	vh.Routes = make([]*routev3.Route, 0, len(v.Rules))
	for i := range v.Rules {
		vh.Routes = append(vh.Routes, rule(&v.Rules[i], v.Port))
		if v.Rules[i].Route.Match.CatchAll() {
			break
		}
	}
	return vh
}

// Default returns the virtual host of a service port that no VirtualService claims: every
// request goes to t. v.Rules is not read.
func Default(v VirtualHost, t Target) *routev3.VirtualHost {
	vh := host(v.Name, v.Domains)
	action := &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: t.Cluster},
		RetryPolicy:      retries(nil, t.Hash != nil),
		HashPolicy:       hashPolicies([]Target{t}),
	}
	setTimeout(action, nil)
	vh.Routes = []*routev3.Route{{
		Name:                 names.DefaultRoute,
		Match:                everything(),
		Action:               &routev3.Route_Route{Route: action},
		Decorator:            &routev3.Decorator{Operation: v.Name + "/*"},
		TypedPerFilterConfig: alpnConfig(t.ALPN),
	}}
	return vh
}

// CatchAll returns the virtual host for requests to unknown hosts: allow_any, which sends
// them where they were going, or block_all, which answers 502.
func CatchAll(mode ir.OutboundMode) *routev3.VirtualHost {
	if mode == ir.RegistryOnly {
		return direct(names.BlockAllVirtualHost, names.BlockAllVirtualHost, 502)
	}
	vh := host(names.AllowAnyVirtualHost, []string{"*"})
	action := &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: names.PassthroughCluster},
	}
	setTimeout(action, nil)
	vh.Routes = []*routev3.Route{{
		Name: names.AllowAnyVirtualHost, Match: everything(), Action: &routev3.Route_Route{Route: action},
	}}
	return vh
}

// Blackhole returns the virtual host "blackhole:<port>" that answers 404 on a gateway port
// without any route.
func Blackhole(port uint16) *routev3.VirtualHost {
	return direct(names.BlackholeVirtualHost(port), names.DefaultRoute, 404)
}

// Shell returns the route table of that name without virtual hosts.
func Shell(name string) *routev3.RouteConfiguration {
	return &routev3.RouteConfiguration{
		Name:                           name,
		ValidateClusters:               wrapperspb.Bool(false),
		IgnorePortInHostMatching:       true,
		MaxDirectResponseBodySizeBytes: wrapperspb.UInt32(maxDirectBody),
	}
}

func host(name string, domains []string) *routev3.VirtualHost {
	return &routev3.VirtualHost{Name: name, Domains: domains, IncludeRequestAttemptCount: true}
}

// direct is a virtual host that answers every request to any host with a status.
func direct(name, routeName string, status uint32) *routev3.VirtualHost {
	vh := host(name, []string{"*"})
	vh.Routes = []*routev3.Route{{
		Name:   routeName,
		Match:  everything(),
		Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: status}},
	}}
	return vh
}

func everything() *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
}
