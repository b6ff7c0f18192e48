// Package tlscontext builds the TLS ends of connections: what a proxy shows and demands
// as a client and as a server. Certificates and keys never pass through here; they are
// named, and come by SDS from the agent or from the proxy's own file system. It is pure.
package tlscontext

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rawv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluicemesh/sluice/internal/identity"
	"github.com/sluicemesh/sluice/xds/envoy/pack"
	"github.com/sluicemesh/sluice/xds/names"
)

const (
	tlsSocket = "envoy.transport_sockets.tls"
	rawSocket = "envoy.transport_sockets.raw_buffer"
)

// The ALPN tokens by which a mesh server tells what runs inside the TLS connection before
// it is decrypted. The last entry of each HTTP list is what gets negotiated.
// Source: Istio's tokens; istio-peer-exchange is not offered because its protocol needs a
// filter that stock Envoy does not have.
const (
	alpnTCP   = "istio"
	alpnHTTP1 = "istio-http/1.1"
	alpnHTTP2 = "istio-h2"
)

// TCPProtocols is the ALPN list of a mesh connection of unknown content.
func TCPProtocols() []string { return []string{alpnTCP} }

// HTTP1Protocols is the ALPN list of a mesh connection that carries HTTP/1.1.
func HTTP1Protocols() []string { return []string{alpnHTTP1, alpnTCP, "http/1.1"} }

// HTTP2Protocols is the ALPN list of a mesh connection that carries HTTP/2.
func HTTP2Protocols() []string { return []string{alpnHTTP2, alpnTCP, "h2"} }

// MeshHTTPMatch are the tokens by which a server knows mesh HTTP.
func MeshHTTPMatch() []string { return []string{"istio-http/1.0", alpnHTTP1, alpnHTTP2} }

// MeshTCPMatch are the tokens by which a server knows mesh connections of other content.
// The first is never negotiated here, but peers of Istio's offer it.
func MeshTCPMatch() []string { return []string{"istio-peer-exchange", alpnTCP} }

// MeshMatch are all tokens of the mesh.
func MeshMatch() []string { return append(MeshTCPMatch(), MeshHTTPMatch()...) }

// ALPN says what chooses the ALPN list of a mesh connection that a route leads to.
type ALPN uint8

// The choices.
const (
	ByCluster ALPN = iota // the cluster's own list: its protocol is known
	ByRequest             // HTTP/1.1 or HTTP/2, as the request is
	ByHTTP1               // HTTP/1.1
)

// Raw is a connection without TLS.
func Raw() *corev3.TransportSocket {
	return &corev3.TransportSocket{
		Name:       rawSocket,
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack.Any(&rawv3.RawBuffer{})},
	}
}

// MeshClient is the client's end of mesh mTLS.
type MeshClient struct {
	SNI  string
	ALPN []string
	// Peers are the identities accepted, exactly. If there are none, every identity of
	// TrustDomain is.
	Peers       []string
	TrustDomain string
}

// Client returns the client's end of mesh mTLS.
func Client(c MeshClient) *corev3.TransportSocket {
	accept := exact(c.Peers)
	if len(accept) == 0 {
		accept = trustDomain(c.TrustDomain)
	}
	common := workload(accept)
	common.AlpnProtocols = c.ALPN
	common.TlsParams = &tlsv3.TlsParameters{
		TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2,
		TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
	}
	return upstream(&tlsv3.UpstreamTlsContext{CommonTlsContext: common, Sni: c.SNI})
}

// Server returns the server's end of mesh mTLS: a client must show a certificate of the
// mesh whose identity is in the trust domain.
func Server(domain string) *corev3.TransportSocket {
	common := workload(trustDomain(domain))
	common.TlsParams = &tlsv3.TlsParameters{
		TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2,
		TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
		CipherSuites: []string{
			"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
			"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
			"AES256-GCM-SHA384", "AES128-GCM-SHA256",
		},
	}
	// Never a token of the mesh: the codec takes the negotiated value literally, and only
	// "h2" means HTTP/2 to it. TCP offers the same; the connection manager is what differs.
	common.AlpnProtocols = []string{"h2", "http/1.1"}
	return socket(pack.Any(&tlsv3.DownstreamTlsContext{
		CommonTlsContext:         common,
		RequireClientCertificate: wrapperspb.Bool(true),
	}))
}

func workload(accept []*tlsv3.SubjectAltNameMatcher) *tlsv3.CommonTlsContext {
	return &tlsv3.CommonTlsContext{
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{agentSecret(identity.WorkloadSecret)},
		ValidationContextType: &tlsv3.CommonTlsContext_CombinedValidationContext{
			CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
				DefaultValidationContext:         &tlsv3.CertificateValidationContext{MatchTypedSubjectAltNames: accept},
				ValidationContextSdsSecretConfig: agentSecret(identity.RootSecret),
			},
		},
	}
}

// agentSecret names a secret that the agent serves on its socket.
func agentSecret(name string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{
		Name: name,
		SdsConfig: &corev3.ConfigSource{
			ConfigSourceSpecifier: &corev3.ConfigSource_ApiConfigSource{ApiConfigSource: &corev3.ApiConfigSource{
				ApiType:                   corev3.ApiConfigSource_GRPC,
				TransportApiVersion:       corev3.ApiVersion_V3,
				SetNodeOnFirstMessageOnly: true,
				GrpcServices: []*corev3.GrpcService{{
					TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: names.SDSCluster}},
				}},
			}},
			InitialFetchTimeout: durationpb.New(0),
			ResourceApiVersion:  corev3.ApiVersion_V3,
		},
	}
}

func exact(ids []string) []*tlsv3.SubjectAltNameMatcher {
	out := make([]*tlsv3.SubjectAltNameMatcher, 0, len(ids))
	for _, id := range ids {
		out = append(out, uri(&matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: id}}))
	}
	return out
}

func trustDomain(domain string) []*tlsv3.SubjectAltNameMatcher {
	return []*tlsv3.SubjectAltNameMatcher{
		uri(&matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: "spiffe://" + domain + "/"}}),
	}
}

func uri(m *matcherv3.StringMatcher) *tlsv3.SubjectAltNameMatcher {
	return &tlsv3.SubjectAltNameMatcher{SanType: tlsv3.SubjectAltNameMatcher_URI, Matcher: m}
}
