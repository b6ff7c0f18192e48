package bootstrap

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	brotliv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/compression/brotli/compressor/v3"
	gzipv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/compression/gzip/compressor/v3"
	zstdv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/compression/zstd/compressor/v3"
	compressorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/compressor/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	proxyprotocolv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
)

// listeners are the ports that are open before any configuration came: Envoy's own
// statistics, and readiness, which the agent answers through Envoy so that a hung or
// saturated Envoy fails the probe.
func listeners(p Params, x *extensions) []*listenerv3.Listener {
	hosts := p.Families.wildcard()
	if p.LocalMetrics {
		hosts = p.Families.localhost()
	}
	var filters []*hcmv3.HttpFilter
	if p.Compression {
		filters = append(filters,
			compressor("brotli", &brotliv3.Brotli{}, x), compressor("zstd", &zstdv3.Zstd{}, x), compressor("gzip", &gzipv3.Gzip{}, x))
	}
	out := []*listenerv3.Listener{
		listener(hosts, p.PrometheusPort, manager{"stats", "/stats/prometheus", "prometheus_stats", filters}, x),
	}
	if p.StatusPort == 0 {
		return out
	}
	health := listener(p.Families.wildcard(), p.HealthPort, manager{"agent", "/healthz/ready", "agent", nil}, x)
	if p.ProxyProtocol {
		health.ListenerFilters = []*listenerv3.ListenerFilter{{
			Name:       "envoy.filters.listener.proxy_protocol",
			ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: x.any(&proxyprotocolv3.ProxyProtocol{})},
		}}
	}
	return append(out, health)
}

// manager is an HTTP connection manager that leads one path prefix to one cluster.
type manager struct {
	stats, prefix, cluster string
	filters                []*hcmv3.HttpFilter
}

// listener opens port on hosts. It takes connections even when the proxy is saturated: a
// saturated proxy must still answer its probes.
func listener(hosts []string, port uint16, m manager, x *extensions) *listenerv3.Listener {
	l := &listenerv3.Listener{
		Name: portName(port), Address: address(hosts[0], port),
		IgnoreGlobalConnLimit: true, BypassOverloadManager: true,
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name:       "envoy.filters.network.http_connection_manager",
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: x.any(m.config(x))},
		}}}},
	}
	for _, host := range hosts[1:] {
		l.AdditionalAddresses = append(l.AdditionalAddresses, &listenerv3.AdditionalAddress{Address: address(host, port)})
	}
	return l
}

func (m manager) config(x *extensions) *hcmv3.HttpConnectionManager {
	router := &hcmv3.HttpFilter{
		Name:       "envoy.filters.http.router",
		ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: x.any(&routerv3.Router{})},
	}
	return &hcmv3.HttpConnectionManager{
		CodecType: hcmv3.HttpConnectionManager_AUTO, StatPrefix: m.stats,
		HttpFilters: append(m.filters, router),
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
			VirtualHosts: []*routev3.VirtualHost{{
				Name: "backend", Domains: []string{"*"},
				Routes: []*routev3.Route{{
					Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: m.prefix}},
					Action: &routev3.Route_Route{Route: &routev3.RouteAction{
						ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: m.cluster},
					}},
				}},
			}},
		}},
	}
}

func compressor(name string, library proto.Message, x *extensions) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{
		Name: "envoy.filters.http.compressor." + name,
		ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: x.any(&compressorv3.Compressor{
			CompressorLibrary: &corev3.TypedExtensionConfig{
				Name: "envoy.compression." + name + ".compressor", TypedConfig: x.any(library),
			},
		})},
	}
}
