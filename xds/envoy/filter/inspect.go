package filter

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	httpinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/http_inspector/v3"
	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	originalsrcv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_src/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"

	"github.com/sluicemesh/sluice/xds/envoy/pack"
)

// InboundMark is the packet mark of connections to the application under TPROXY.
const InboundMark = 1337

// OriginalDst finds where an intercepted connection was going.
func OriginalDst() *listenerv3.ListenerFilter {
	return inspect(originalDst, &originaldstv3.OriginalDst{}, nil)
}

// OriginalSrc makes connections to the application come from the client's own address.
func OriginalSrc() *listenerv3.ListenerFilter {
	return inspect(originalSrc, &originalsrcv3.OriginalSrc{Mark: InboundMark}, nil)
}

// TLSInspector reads server name and ALPN of TLS connections, but for those that disabled
// matches (nil: none).
func TLSInspector(disabled *listenerv3.ListenerFilterChainMatchPredicate) *listenerv3.ListenerFilter {
	return inspect(tlsInspector, &tlsinspectorv3.TlsInspector{}, disabled)
}

// HTTPInspector tells plain HTTP by a connection's first bytes, but for connections that
// disabled matches (nil: none). It comes after TLSInspector.
func HTTPInspector(disabled *listenerv3.ListenerFilterChainMatchPredicate) *listenerv3.ListenerFilter {
	return inspect(httpInspector, &httpinspectorv3.HttpInspector{}, disabled)
}

func inspect(name string, config proto.Message, disabled *listenerv3.ListenerFilterChainMatchPredicate) *listenerv3.ListenerFilter {
	return &listenerv3.ListenerFilter{
		Name:           name,
		ConfigType:     &listenerv3.ListenerFilter_TypedConfig{TypedConfig: pack.Any(config)},
		FilterDisabled: disabled,
	}
}

// OnPorts matches connections whose original destination is one of the ports; nil if there
// is none.
func OnPorts(ports []uint16) *listenerv3.ListenerFilterChainMatchPredicate {
	rules := make([]*listenerv3.ListenerFilterChainMatchPredicate, 0, len(ports))
	for _, p := range ports {
		rules = append(rules, &listenerv3.ListenerFilterChainMatchPredicate{
			Rule: &listenerv3.ListenerFilterChainMatchPredicate_DestinationPortRange{
				DestinationPortRange: &typev3.Int32Range{Start: int32(p), End: int32(p) + 1},
			},
		})
	}
	switch len(rules) {
	case 0:
		return nil
	case 1: // Envoy rejects a disjunction of one
		return rules[0]
	}
	return &listenerv3.ListenerFilterChainMatchPredicate{
		Rule: &listenerv3.ListenerFilterChainMatchPredicate_OrMatch{
			OrMatch: &listenerv3.ListenerFilterChainMatchPredicate_MatchSet{Rules: rules},
		},
	}
}

// ExceptPorts matches connections to any but the given ports.
func ExceptPorts(ports []uint16) *listenerv3.ListenerFilterChainMatchPredicate {
	on := OnPorts(ports)
	if on == nil {
		return &listenerv3.ListenerFilterChainMatchPredicate{
			Rule: &listenerv3.ListenerFilterChainMatchPredicate_AnyMatch{AnyMatch: true},
		}
	}
	return &listenerv3.ListenerFilterChainMatchPredicate{
		Rule: &listenerv3.ListenerFilterChainMatchPredicate_NotMatch{NotMatch: on},
	}
}
