package cluster

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluicemesh/sluice/xds/envoy/pack"
	"github.com/sluicemesh/sluice/xds/ir"
)

// optionsKey is where a cluster keeps its HTTP options.
const optionsKey = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

// protocol is what a cluster speaks to its endpoints.
type protocol uint8

const (
	stream     protocol = iota // bytes
	http1                      // HTTP/1.1, Envoy's default
	http2                      // HTTP/2, gRPC
	downstream                 // what the client speaks; or bytes
)

// protocol decides what the cluster speaks.
func (o Outbound) protocol(k Key) protocol {
	p := o.Port.Protocol
	switch {
	case p == ir.HTTP && o.Policy.UpgradeHTTP2, p.IsHTTP2() && !o.Policy.UseClientProto:
		return http2
	case p.IsHTTP() && o.Policy.UseClientProto:
		return downstream
	}
	return plainProtocol(p, k.Router)
}

// plainProtocol is what a port speaks without a policy. Gateways do not look at first bytes,
// so that to them an undeclared port is HTTP/1.1.
func plainProtocol(p ir.Protocol, router bool) protocol {
	switch {
	case p.IsHTTP2():
		return http2
	case p.IsHTTP():
		return http1
	case p == ir.Auto && router:
		return http1
	case p == ir.Auto:
		return downstream
	}
	return stream
}

// options are a cluster's HTTP options.
type options struct {
	protocol    protocol
	idle        *time.Duration
	maxRequests *uint32 // per connection
	autoSNI     bool
	autoSAN     bool
}

// protocolOptions returns the extension options of a cluster, nil when Envoy's defaults do.
// A cluster of bytes has some too: a route may lead plain HTTP to an HTTPS port whose
// policy originates TLS.
func protocolOptions(o options) map[string]*anypb.Any {
	h := &httpv3.HttpProtocolOptions{}
	needed := o.protocol == http2 || o.protocol == downstream
	if o.idle != nil || o.maxRequests != nil {
		needed = true
		h.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{
			IdleTimeout:              pack.Duration(o.idle),
			MaxRequestsPerConnection: pack.UInt32(o.maxRequests),
		}
	}
	if o.autoSNI || o.autoSAN {
		needed = true
		h.UpstreamHttpProtocolOptions = &corev3.UpstreamHttpProtocolOptions{AutoSni: o.autoSNI, AutoSanValidation: o.autoSAN}
	}
	if !needed {
		return nil
	}
	upstreamProtocol(h, o.protocol)
	return map[string]*anypb.Any{optionsKey: pack.Any(h)}
}

func upstreamProtocol(h *httpv3.HttpProtocolOptions, p protocol) {
	switch p {
	case downstream:
		h.UpstreamProtocolOptions = &httpv3.HttpProtocolOptions_UseDownstreamProtocolConfig{
			UseDownstreamProtocolConfig: &httpv3.HttpProtocolOptions_UseDownstreamHttpConfig{
				HttpProtocolOptions:  &corev3.Http1ProtocolOptions{},
				Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
			},
		}
	case http2:
		h.UpstreamProtocolOptions = &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: &corev3.Http2ProtocolOptions{}},
			},
		}
	case http1, stream:
		h.UpstreamProtocolOptions = &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{HttpProtocolOptions: &corev3.Http1ProtocolOptions{}},
			},
		}
	}
}
