// Package bootstrap builds the configuration that Envoy starts with: who it is, the
// static listeners and clusters that lead to the agent, and that everything else comes
// from the agent over delta ADS. Where an application takes Envoy's place through gRPC, it
// builds the configuration that gRPC starts with.
//
// It is pure: Params in, a typed message out. Names and values are Istio's, because
// dashboards, scripts and the control plane know them.
package bootstrap

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	internalv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/bootstrap/internal_listener/v3"
	connectionsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluicemesh/sluice/internal/nodemeta"
)

// Params is all that a bootstrap depends on.
type Params struct {
	Node     nodemeta.Node
	Families Families

	XDSSocket string // Unix socket of the agent's ADS
	SDSSocket string // Unix socket of the agent's SDS

	AdminPort      uint16
	StatusPort     uint16 // the agent's HTTP server; 0: there is none
	HealthPort     uint16
	PrometheusPort uint16
	ProxyProtocol  bool // the health port expects a PROXY header
	LocalMetrics   bool // the Prometheus port listens on loopback only
	Compression    bool // statistics may be compressed

	Stats          Stats
	ExitOnZero     bool // statistics of active connections are needed
	MaxConnections int64
	RuntimeValues  map[string]string // over the defaults; an empty value deletes one
	OutlierLogPath string
	LogJSON        bool
}

// Families are the IP families of the pod.
type Families struct{ V4, V6, V6First bool }

// FamiliesOf derives the families from the pod's addresses, the primary one first. Without
// dual stack only the primary's family counts.
func FamiliesOf(ips []netip.Addr, dual bool) Families {
	var f Families
	for i, ip := range ips {
		if i > 0 && !dual && !ips[0].IsLoopback() {
			break
		}
		if ip.Is4() {
			f.V4 = true
		} else {
			f.V6 = true
			f.V6First = f.V6First || i == 0
		}
	}
	if ips[0].IsLoopback() && f.V4 {
		return Families{V4: true}
	}
	return f
}

// V4First reports whether Envoy's own addresses are IPv4.
func (f Families) V4First() bool { return f.V4 && !f.V6First }

// localhost and wildcard are the addresses of the families, the first one first.
func (f Families) localhost() []string { return f.pair("127.0.0.1", "::1") }
func (f Families) wildcard() []string  { return f.pair("0.0.0.0", "::") }

func (f Families) pair(v4, v6 string) []string {
	switch {
	case f.V4 && f.V6 && f.V6First:
		return []string{v6, v4}
	case f.V4 && f.V6:
		return []string{v4, v6}
	case f.V6:
		return []string{v6}
	}
	return []string{v4}
}

// Encode returns the bootstrap as JSON, which Envoy reads.
func Encode(p Params) ([]byte, error) {
	b, err := Build(p)
	if err != nil {
		return nil, err
	}
	out, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode bootstrap: %w", err)
	}
	return out, nil
}

// Build returns the bootstrap. The result is new. The error is that of an extension's
// configuration that does not encode.
func Build(p Params) (*bootstrapv3.Bootstrap, error) {
	x := &extensions{}
	b := &bootstrapv3.Bootstrap{
		Node:                 p.Node.Proto(),
		ApplicationLogConfig: logFormat(p.LogJSON),
		LayeredRuntime:       runtime(p),
		BootstrapExtensions: []*corev3.TypedExtensionConfig{{
			Name: "envoy.bootstrap.internal_listener",
			TypedConfig: x.any(&internalv3.InternalListener{
				BufferSizeKb: wrapperspb.UInt32(64),
			}),
		}},
		StatsConfig:         p.Stats.config(p.ExitOnZero),
		DeferredStatOptions: &bootstrapv3.Bootstrap_DeferredStatOptions{EnableDeferredCreationStats: true},
		ClusterManager:      &bootstrapv3.ClusterManager{EnableDeferredClusterCreation: true},
		OverloadManager:     overload(p, x),
		Admin: &bootstrapv3.Admin{
			Address:     address(p.Families.localhost()[0], p.AdminPort),
			ProfilePath: "/var/lib/istio/data/envoy.prof",
		},
		DynamicResources: dynamic(),
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{
			Clusters: clusters(p, x), Listeners: listeners(p, x),
		},
	}
	if d := p.Stats.FlushInterval; d > 0 {
		b.StatsFlushInterval = durationpb.New(d)
	}
	if d := p.Stats.EvictionInterval; d > 0 {
		b.StatsEviction = &bootstrapv3.Bootstrap_StatsEvictionInterval{StatsEvictionInterval: durationpb.New(d)}
	}
	if p.OutlierLogPath != "" {
		b.ClusterManager.OutlierDetection = &bootstrapv3.ClusterManager_OutlierDetection{EventLogPath: p.OutlierLogPath}
	}
	return b, x.err
}

// dynamic says that listeners and clusters come over ADS. Without a fetch timeout Envoy
// opens no listener before they are there: not ready is better than listening and failing.
func dynamic() *bootstrapv3.Bootstrap_DynamicResources {
	ads := func() *corev3.ConfigSource {
		return &corev3.ConfigSource{
			ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
			InitialFetchTimeout:   durationpb.New(0),
			ResourceApiVersion:    corev3.ApiVersion_V3,
		}
	}
	return &bootstrapv3.Bootstrap_DynamicResources{
		LdsConfig: ads(), CdsConfig: ads(),
		AdsConfig: &corev3.ApiConfigSource{
			ApiType: corev3.ApiConfigSource_DELTA_GRPC, TransportApiVersion: corev3.ApiVersion_V3,
			SetNodeOnFirstMessageOnly: true,
			GrpcServices: []*corev3.GrpcService{{
				TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: "xds-grpc"}},
			}},
		},
	}
}

// runtime is the static layer with the user's values over ours, and the admin's over both.
func runtime(p Params) *bootstrapv3.LayeredRuntime {
	fields := map[string]*structpb.Value{
		"re2.max_program_size.error_level": structpb.NewNumberValue(32768),
		"envoy.deprecated_features:envoy.config.listener.v3.Listener.hidden_envoy_deprecated_use_original_dst": structpb.NewBoolValue(true),
		// A fragment is cut off the path, as browsers never send one, instead of refused.
		"envoy.reloadable_features.http_reject_path_with_fragment": structpb.NewBoolValue(false),
	}
	for k, v := range p.RuntimeValues {
		switch v {
		case "":
			delete(fields, k)
		case "true", "false":
			fields[k] = structpb.NewBoolValue(v == "true")
		default:
			fields[k] = structpb.NewStringValue(v)
		}
	}
	return &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{
		{Name: "global config", LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{StaticLayer: &structpb.Struct{Fields: fields}}},
		{Name: "admin", LayerSpecifier: &bootstrapv3.RuntimeLayer_AdminLayer_{AdminLayer: &bootstrapv3.RuntimeLayer_AdminLayer{}}},
	}}
}

// overload bounds the downstream connections.
func overload(p Params, x *extensions) *overloadv3.OverloadManager {
	limit := p.MaxConnections
	if limit == 0 {
		limit = 1<<31 - 1
	}
	return &overloadv3.OverloadManager{ResourceMonitors: []*overloadv3.ResourceMonitor{{
		Name: "envoy.resource_monitors.global_downstream_max_connections",
		ConfigType: &overloadv3.ResourceMonitor_TypedConfig{
			TypedConfig: x.any(&connectionsv3.DownstreamConnectionsConfig{MaxActiveDownstreamConnections: limit}),
		},
	}}}
}

// logFormat is Istio's line, or one JSON object a line.
func logFormat(asJSON bool) *bootstrapv3.Bootstrap_ApplicationLogConfig {
	f := &bootstrapv3.Bootstrap_ApplicationLogConfig_LogFormat{
		LogFormat: &bootstrapv3.Bootstrap_ApplicationLogConfig_LogFormat_TextFormat{
			TextFormat: "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t",
		},
	}
	if asJSON {
		f.LogFormat = &bootstrapv3.Bootstrap_ApplicationLogConfig_LogFormat_JsonFormat{
			JsonFormat: &structpb.Struct{Fields: map[string]*structpb.Value{
				"time": structpb.NewStringValue("%Y-%m-%dT%T.%fZ"), "level": structpb.NewStringValue("%l"),
				"scope": structpb.NewStringValue("envoy %n"), "caller": structpb.NewStringValue("%g:%#"),
				"msg": structpb.NewStringValue("%j"), "thread": structpb.NewStringValue("%t"),
			}},
		}
	}
	return &bootstrapv3.Bootstrap_ApplicationLogConfig{LogFormat: f}
}

// extensions encodes extension configurations and remembers the first error.
type extensions struct{ err error }

func (x *extensions) any(m proto.Message) *anypb.Any {
	out, err := anypb.New(m)
	if err != nil && x.err == nil {
		x.err = fmt.Errorf("encode %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return out
}

func address(ip string, port uint16) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: ip, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)},
	}}}
}

// Stats says what Envoy counts beyond what the mesh needs.
type Stats struct {
	Prefixes, Suffixes, Regexps []string
	Tags                        []string // names of extra tags, "<name>=<value>;." in a statistic
	Buckets                     []Buckets
	FlushInterval               time.Duration // 0: Envoy's 5 s
	EvictionInterval            time.Duration // 0: none; else a multiple of the flush interval
}

// Buckets are the bounds of the histograms whose names start with Prefix.
type Buckets struct {
	Prefix string
	Bounds []float64
}

func portName(port uint16) string { return strconv.Itoa(int(port)) }
