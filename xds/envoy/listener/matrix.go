package listener

import (
	"slices"

	"github.com/sluicemesh/sluice/xds/envoy/tlscontext"
	"github.com/sluicemesh/sluice/xds/ir"
)

// MTLS is what a port demands of its clients.
type MTLS uint8

// The modes.
const (
	Permissive MTLS = iota // mesh mTLS, plain text, and TLS of the application's own
	Strict                 // mesh mTLS
	Disable                // plain text; TLS passes as bytes
)

// cell is one filter chain of an inbound port: what it matches and what it does.
type cell struct {
	transport string
	alpn      []string // empty: any
	mesh      bool     // terminates mesh mTLS
	http      bool     // parses HTTP
}

// cells are the chains of a port, in order.
//
// The client's ALPN list tells mesh TLS from the application's own TLS before anything is
// decrypted, and on ports of undeclared protocol HTTP from other content as well.
// Source: Istio's matrix of filter chain matches.
func cells(mode MTLS, p ir.Protocol) []cell {
	switch {
	case p == ir.Auto:
		return sniffedCells(mode)
	case p.IsHTTP():
		return httpCells(mode)
	}
	return tcpCells(mode)
}

func sniffedCells(mode MTLS) []cell {
	switch mode {
	case Strict:
		return []cell{
			{transport: tlsTransport, alpn: tlscontext.MeshHTTPMatch(), mesh: true, http: true},
			{transport: tlsTransport, mesh: true},
		}
	case Disable:
		return []cell{
			{transport: rawTransport, alpn: plainHTTP(), http: true},
			{transport: rawTransport},
		}
	}
	return []cell{
		{transport: tlsTransport, alpn: tlscontext.MeshHTTPMatch(), mesh: true, http: true},
		{transport: rawTransport, alpn: plainHTTP(), http: true},
		{transport: tlsTransport, alpn: tlscontext.MeshTCPMatch(), mesh: true},
		{transport: rawTransport},
		{transport: tlsTransport},
	}
}

func httpCells(mode MTLS) []cell {
	switch mode {
	case Strict:
		return []cell{{transport: tlsTransport, mesh: true, http: true}}
	case Disable:
		return []cell{{transport: rawTransport, http: true}}
	}
	return []cell{
		{transport: tlsTransport, alpn: tlscontext.MeshMatch(), mesh: true, http: true},
		{transport: rawTransport, http: true},
	}
}

func tcpCells(mode MTLS) []cell {
	switch mode {
	case Strict:
		return []cell{{transport: tlsTransport, mesh: true}}
	case Disable:
		return []cell{{transport: rawTransport}}
	}
	return []cell{
		{transport: tlsTransport, alpn: tlscontext.MeshMatch(), mesh: true},
		{transport: tlsTransport},
		{transport: rawTransport},
	}
}

// asksTLS reports whether some chain is for TLS connections.
func asksTLS(cs []cell) bool {
	return slices.ContainsFunc(cs, func(c cell) bool { return c.transport == tlsTransport })
}
