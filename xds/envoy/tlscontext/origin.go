package tlscontext

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluicemesh/sluice/xds/envoy/pack"
)

// systemRoots is where the proxy's image keeps the roots of public authorities.
const systemRoots = "/etc/ssl/certs/ca-certificates.crt"

// Origination is the client's end of TLS towards a server outside the mesh, as a
// DestinationRule writes it (modes SIMPLE and MUTUAL). Files are paths in the proxy's file
// system.
type Origination struct {
	SNI             string   // empty: the host of the request
	SubjectAltNames []string // accepted names; empty: the host of the request
	CA              string   // file; empty or "system": the public authorities
	Certificate     string   // file; empty: the client shows none
	Key             string
	SkipVerify      bool
	HTTP2           bool
}

// Originate returns the client's end of TLS towards a server outside the mesh.
func Originate(o Origination) *corev3.TransportSocket {
	common := &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{
			TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2,
			TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
		},
	}
	if o.HTTP2 {
		common.AlpnProtocols = []string{"h2"}
	}
	if o.Certificate != "" {
		common.TlsCertificates = []*tlsv3.TlsCertificate{{
			CertificateChain: file(o.Certificate), PrivateKey: file(o.Key),
		}}
	}
	if !o.SkipVerify {
		common.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: validation(o)}
	}
	return upstream(&tlsv3.UpstreamTlsContext{CommonTlsContext: common, Sni: o.SNI})
}

func validation(o Origination) *tlsv3.CertificateValidationContext {
	ca := o.CA
	if ca == "" || ca == "system" {
		ca = systemRoots
	}
	v := &tlsv3.CertificateValidationContext{TrustedCa: file(ca)}
	for _, name := range o.SubjectAltNames {
		for _, kind := range []tlsv3.SubjectAltNameMatcher_SanType{tlsv3.SubjectAltNameMatcher_DNS, tlsv3.SubjectAltNameMatcher_URI} {
			v.MatchTypedSubjectAltNames = append(v.MatchTypedSubjectAltNames, &tlsv3.SubjectAltNameMatcher{
				SanType: kind,
				Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: name}},
			})
		}
	}
	return v
}

func file(path string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: path}}
}

func upstream(c *tlsv3.UpstreamTlsContext) *corev3.TransportSocket { return socket(pack.Any(c)) }

func socket(config *anypb.Any) *corev3.TransportSocket {
	return &corev3.TransportSocket{
		Name:       tlsSocket,
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: config},
	}
}
