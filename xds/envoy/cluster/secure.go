package cluster

import (
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/sluicemesh/sluice/xds/envoy/endpoint"
	"github.com/sluicemesh/sluice/xds/envoy/tlscontext"
	"github.com/sluicemesh/sluice/xds/ir"
)

// plainMatch is the name of the match that leads to a connection without TLS.
const plainMatch = "tlsMode-disabled"

// MarksPlain reports whether the cluster tells endpoints without a proxy by their metadata;
// it is the MarkPlain of its load assignment's key.
func MarksPlain(o Outbound, k Key) bool {
	if !k.AutoMTLS || o.Policy.TLS != ir.AutoTLS || o.Service.MeshExternal {
		return false
	}
	switch o.kind(k) {
	case clusterv3.Cluster_EDS:
		return true
	case clusterv3.Cluster_ORIGINAL_DST:
		return false // its endpoints are not known one by one
	}
	// Names outside of the cluster: mesh TLS only where one was said to accept it.
	return slices.ContainsFunc(o.Endpoints, func(e ir.Endpoint) bool { return e.MeshTLS })
}

// secure sets the transport sockets.
//
// Under auto mTLS the cluster's own socket is TLS, and endpoints without a proxy carry the
// metadata that leads to a plain one. Istio has it the other way round; but metadata costs
// Envoy 5 KB an endpoint, and in a mesh most endpoints have a proxy.
func secure(c *clusterv3.Cluster, o Outbound, k Key) {
	switch o.Policy.TLS {
	case ir.DisableTLS:
	case ir.SimpleTLS, ir.MutualTLS:
		c.TransportSocket = tlscontext.Originate(origination(o, k))
	case ir.MeshMutualTLS:
		c.TransportSocket = meshSocket(o, k)
	case ir.AutoTLS:
		switch {
		case MarksPlain(o, k):
			c.TransportSocket = meshSocket(o, k)
			c.TransportSocketMatches = []*clusterv3.Cluster_TransportSocketMatch{{
				Name: plainMatch, Match: endpoint.PlainMatch(), TransportSocket: tlscontext.Raw(),
			}}
		case k.AutoMTLS && c.GetType() == clusterv3.Cluster_ORIGINAL_DST && o.AllMeshTLS && !o.Service.MeshExternal:
			c.TransportSocket = meshSocket(o, k)
		}
	}
}

// RouteALPN says how a route to the cluster tells the peer what is inside the TLS
// connection. Service, Port and Policy of o are read, nothing else.
func RouteALPN(o Outbound, k Key) tlscontext.ALPN {
	mesh := o.Policy.TLS == ir.MeshMutualTLS || o.Policy.TLS == ir.AutoTLS && k.AutoMTLS && !o.Service.MeshExternal
	switch p := o.protocol(k); {
	case !mesh:
		return tlscontext.ByCluster
	case p == downstream:
		return tlscontext.ByRequest
	case p == http1 && o.Port.Protocol == ir.Auto:
		return tlscontext.ByHTTP1
	}
	return tlscontext.ByCluster
}

func meshSocket(o Outbound, k Key) *corev3.TransportSocket {
	client := tlscontext.MeshClient{SNI: o.Policy.SNI, TrustDomain: k.TrustDomain, Peers: o.Policy.SubjectAlts}
	if client.SNI == "" {
		client.SNI = o.ID().SNI()
	}
	if len(client.Peers) == 0 {
		client.Peers = slices.Concat(o.Peers, o.Service.SubjectAltNames)
		slices.Sort(client.Peers)
		client.Peers = slices.Compact(client.Peers)
	}
	switch o.protocol(k) {
	case http2:
		client.ALPN = tlscontext.HTTP2Protocols()
	case http1:
		client.ALPN = tlscontext.HTTP1Protocols()
		if o.Port.Protocol == ir.Auto { // a gateway may send bytes there as well; routes tell HTTP
			client.ALPN = tlscontext.TCPProtocols()
		}
	case stream, downstream: // the route sets the ALPN of HTTP by what the client speaks
		client.ALPN = tlscontext.TCPProtocols()
	}
	return tlscontext.Client(client)
}

func origination(o Outbound, k Key) tlscontext.Origination {
	p := o.Policy
	t := tlscontext.Origination{
		SNI: p.SNI, SubjectAltNames: p.SubjectAlts, CA: p.CACertificates,
		SkipVerify: p.SkipVerify, HTTP2: o.protocol(k) == http2,
	}
	if len(t.SubjectAltNames) == 0 && p.SNI != "" {
		// Istio checks only the authority then, and any name it ever signed would do.
		t.SubjectAltNames = []string{p.SNI}
	}
	if p.TLS == ir.MutualTLS {
		t.Certificate, t.Key = p.ClientCert, p.PrivateKey
	}
	return t
}

// hostTLS says whether server name and accepted names follow the host of each request.
func hostTLS(o Outbound) (sni, san bool) {
	if p := o.Policy; p.TLS == ir.SimpleTLS || p.TLS == ir.MutualTLS {
		sni = p.SNI == ""
		san = sni && len(p.SubjectAlts) == 0 && !p.SkipVerify
	}
	return sni, san
}
