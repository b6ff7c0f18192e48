package filter

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	grpcstatsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/grpc_stats/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	statev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	uuidv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluicemesh/sluice/xds/envoy/accesslog"
	"github.com/sluicemesh/sluice/xds/envoy/pack"
)

// Side is where in the mesh HTTP traffic is parsed.
type Side uint8

// The sides.
const (
	Outbound Side = iota // a sidecar, traffic its pod sends
	Inbound              // a sidecar, traffic its pod receives
	Gateway              // a router
)

// serverName is the "server" header of answers.
const serverName = "istio-envoy"

// HTTP is what a connection manager is made from. Exactly one of Route and Inline is set.
type HTTP struct {
	Side       Side
	StatPrefix string
	Route      string // name of a route table that comes over ADS
	Inline     *routev3.RouteConfiguration
	Log        accesslog.Config
}

// Manager returns the network filter that parses HTTP.
// Source: Istio's settings of connection managers.
func Manager(h HTTP) *listenerv3.Filter {
	m := &hcmv3.HttpConnectionManager{
		StatPrefix:         h.StatPrefix,
		CodecType:          hcmv3.HttpConnectionManager_AUTO,
		HttpFilters:        httpFilters(h.Side),
		AccessLog:          accesslog.Requests(h.Log),
		UseRemoteAddress:   wrapperspb.Bool(h.Side == Gateway),
		NormalizePath:      wrapperspb.Bool(true),
		Proxy_100Continue:  true,
		StreamIdleTimeout:  durationpb.New(0),
		UpgradeConfigs:     []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},
		RequestIdExtension: &hcmv3.RequestIDExtension{TypedConfig: pack.Any(&uuidv3.UuidRequestIdConfig{})},
		// %2F in a path stays what it is: decoding it would let one path pass as another.
		PathWithEscapedSlashesAction: hcmv3.HttpConnectionManager_KEEP_UNCHANGED,
	}
	if h.Inline != nil {
		m.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: h.Inline}
	} else {
		m.RouteSpecifier = &hcmv3.HttpConnectionManager_Rds{
			Rds: &hcmv3.Rds{ConfigSource: pack.ADS(), RouteConfigName: h.Route},
		}
	}
	clientCertificate(m, h.Side)
	return network(connectionManager, m)
}

// clientCertificate sets what x-forwarded-client-cert tells the application.
func clientCertificate(m *hcmv3.HttpConnectionManager, side Side) {
	switch side {
	case Inbound:
		m.ServerName = serverName
		m.ForwardClientCertDetails = hcmv3.HttpConnectionManager_APPEND_FORWARD
		m.SetCurrentClientCertDetails = &hcmv3.HttpConnectionManager_SetCurrentClientCertDetails{
			Subject: wrapperspb.Bool(true), Uri: true, Dns: true,
		}
	case Gateway:
		m.ServerName = serverName
		// The header of a client outside the mesh is never believed.
		m.ForwardClientCertDetails = hcmv3.HttpConnectionManager_SANITIZE_SET
		m.SetCurrentClientCertDetails = &hcmv3.HttpConnectionManager_SetCurrentClientCertDetails{
			Subject: wrapperspb.Bool(true), Cert: true, Uri: true, Dns: true,
		}
	case Outbound:
	}
}

// httpFilters are the HTTP filters in the order in which requests pass them.
func httpFilters(side Side) []*hcmv3.HttpFilter {
	var out []*hcmv3.HttpFilter
	add := func(name string, config proto.Message) {
		out = append(out, &hcmv3.HttpFilter{
			Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack.Any(config)},
		})
	}
	add(GRPCStats, &grpcstatsv3.FilterConfig{
		EmitFilterState: true,
		PerMethodStatSpecifier: &grpcstatsv3.FilterConfig_StatsForAllMethods{
			StatsForAllMethods: wrapperspb.Bool(false),
		},
	})
	if side != Inbound {
		// Does nothing by itself: routes to ports without a declared protocol give it
		// the ALPN that tells the peer what is inside the TLS connection.
		add(SetFilterState, &statev3.Config{})
	}
	add(Fault, &faultv3.HTTPFault{})
	add(CORS, &corsv3.Cors{})
	add(Router, &routerv3.Router{})
	return out
}

func network(name string, config proto.Message) *listenerv3.Filter {
	return &listenerv3.Filter{
		Name: name, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack.Any(config)},
	}
}
