package bootstrap

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// clusters are the ways to the agent and to Envoy's own statistics.
func clusters(p Params, x *extensions) []*clusterv3.Cluster {
	local := p.Families.localhost()[0]
	xds := grpcCluster("xds-grpc", p.XDSSocket, x)
	xds.UpstreamConnectionOptions = &clusterv3.UpstreamConnectionOptions{
		TcpKeepalive: &corev3.TcpKeepalive{KeepaliveTime: wrapperspb.UInt32(300)},
	}
	// One request a connection: each ADS stream gets a connection of its own.
	xds.TypedExtensionProtocolOptions = http2(x, &corev3.HttpProtocolOptions{MaxRequestsPerConnection: wrapperspb.UInt32(1)})
	xds.CircuitBreakers = &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{
		wide(corev3.RoutingPriority_DEFAULT), wide(corev3.RoutingPriority_HIGH),
	}}
	out := []*clusterv3.Cluster{
		static("prometheus_stats", 250*time.Millisecond, address(local, p.AdminPort)),
	}
	if p.StatusPort != 0 {
		out = append(out, static("agent", 250*time.Millisecond, address(local, p.StatusPort)))
	}
	return append(out, grpcCluster("sds-grpc", p.SDSSocket, x), xds)
}

func static(name string, connect time.Duration, addr *corev3.Address) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name: name, AltStatName: name + ";",
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       durationpb.New(connect),
		LoadAssignment: &endpointv3.ClusterLoadAssignment{
			ClusterName: name,
			Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
				HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: addr}},
			}}}},
		},
	}
}

func grpcCluster(name, socket string, x *extensions) *clusterv3.Cluster {
	c := static(name, time.Second, &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: socket}}})
	c.TypedExtensionProtocolOptions = http2(x, nil)
	return c
}

func http2(x *extensions, common *corev3.HttpProtocolOptions) map[string]*anypb.Any {
	return map[string]*anypb.Any{
		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": x.any(&httpv3.HttpProtocolOptions{
			CommonHttpProtocolOptions: common,
			UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{
				ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
					ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
						Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
					},
				},
			},
		}),
	}
}

func wide(priority corev3.RoutingPriority) *clusterv3.CircuitBreakers_Thresholds {
	return &clusterv3.CircuitBreakers_Thresholds{
		Priority: priority, MaxConnections: wrapperspb.UInt32(100000),
		MaxPendingRequests: wrapperspb.UInt32(100000), MaxRequests: wrapperspb.UInt32(100000),
	}
}
