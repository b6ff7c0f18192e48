package route

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluicemesh/sluice/xds/ir"
	"github.com/sluicemesh/sluice/xds/names"
)

// InboundPort is one HTTP port of the proxy's own application.
type InboundPort struct {
	Cluster  string
	Host     string // of the Service; empty for ports that none targets
	Port     uint16 // of the Service, 0 likewise
	Protocol ir.Protocol
}

// Inbound returns the whole route table of an inbound port: everything goes to the
// application. A request that provably did not reach it is sent again; gRPC clients
// see to that by themselves.
func Inbound(p InboundPort) *routev3.RouteConfiguration {
	action := &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: p.Cluster}}
	setTimeout(action, nil)
	if p.Protocol != ir.GRPC && p.Protocol != ir.GRPCWeb {
		action.RetryPolicy = &routev3.RetryPolicy{
			RetryOn: "reset-before-request", NumRetries: wrapperspb.UInt32(defaultAttempts),
		}
	}
	r := &routev3.Route{Name: names.DefaultRoute, Match: everything(), Action: &routev3.Route_Route{Route: action}}
	if p.Host != "" {
		r.Decorator = &routev3.Decorator{Operation: names.VirtualHost(p.Host, p.Port) + "/*"}
	}
	return &routev3.RouteConfiguration{
		Name:                           p.Cluster,
		ValidateClusters:               wrapperspb.Bool(false),
		MaxDirectResponseBodySizeBytes: wrapperspb.UInt32(maxDirectBody),
		VirtualHosts: []*routev3.VirtualHost{{
			Name: names.InboundVirtualHost(p.Port), Domains: []string{"*"}, Routes: []*routev3.Route{r},
		}},
	}
}
