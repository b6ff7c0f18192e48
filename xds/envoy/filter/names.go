// Package filter builds the filters of listeners: HTTP connection managers, TCP proxies
// and what looks at a connection's first bytes. The order of HTTP filters is one list in
// this package. It is pure.
package filter

// Names of HTTP filters; a route's configuration of a filter goes by the same name.
const (
	CORS           = "envoy.filters.http.cors"
	Fault          = "envoy.filters.http.fault"
	GRPCStats      = "envoy.filters.http.grpc_stats"
	SetFilterState = "envoy.filters.http.set_filter_state"
	Router         = "envoy.filters.http.router"
)

// Names of network and listener filters.
const (
	connectionManager = "envoy.filters.network.http_connection_manager"
	tcpProxy          = "envoy.filters.network.tcp_proxy"
	tlsInspector      = "envoy.filters.listener.tls_inspector"
	httpInspector     = "envoy.filters.listener.http_inspector"
	originalDst       = "envoy.filters.listener.original_dst"
	originalSrc       = "envoy.filters.listener.original_src"
)
