package ir

import "strings"

// Protocol is what a service port speaks, after protocol selection.
type Protocol uint8

// The protocols. Auto means that the proxy looks at the first bytes.
const (
	Auto Protocol = iota
	TCP
	TLS
	HTTPS
	HTTP
	HTTP2
	GRPC
	GRPCWeb
	Mongo
	Redis
	MySQL
	UDP
)

var protocolNames = [...]string{"auto", "TCP", "TLS", "HTTPS", "HTTP", "HTTP2", "GRPC", "GRPC-Web", "Mongo", "Redis", "MySQL", "UDP"}

// String is the name that messages use.
func (p Protocol) String() string { return protocolNames[p] }

// IsHTTP reports whether the proxy parses requests of this protocol.
func (p Protocol) IsHTTP() bool { return p == HTTP || p == HTTP2 || p == GRPC || p == GRPCWeb }

// IsHTTP2 reports whether the upstream is spoken to in HTTP/2.
func (p Protocol) IsHTTP2() bool { return p == HTTP2 || p == GRPC || p == GRPCWeb }

// IsTLS reports whether clients speak TLS of their own on this port.
func (p Protocol) IsTLS() bool { return p == TLS || p == HTTPS }

// IsTCP reports whether the proxy forwards bytes without looking (TLS names aside).
func (p Protocol) IsTCP() bool { return p != Auto && p != UDP && !p.IsHTTP() }

// ParseProtocol reads a protocol word of a ServiceEntry, Gateway, appProtocol or port-name
// prefix, in any case. ok is false for a word that names none.
func ParseProtocol(word string) (p Protocol, ok bool) {
	switch strings.ToLower(word) {
	case "tcp":
		return TCP, true
	case "tls":
		return TLS, true
	case "https", "kubernetes.io/wss":
		return HTTPS, true
	case "http", "kubernetes.io/ws":
		return HTTP, true
	case "http2", "kubernetes.io/h2c":
		return HTTP2, true
	case "grpc":
		return GRPC, true
	case "grpc-web":
		return GRPCWeb, true
	case "mongo":
		return Mongo, true
	case "redis":
		return Redis, true
	case "mysql":
		return MySQL, true
	case "udp":
		return UDP, true
	}
	return Auto, false
}

// SelectProtocol decides what a Kubernetes service port speaks: appProtocol, else the
// port name up to its first dash ("grpc-web" as a whole), else well-known numbers of
// protocols in which the server speaks first, else Auto.
// Source: Istio protocol selection.
func SelectProtocol(name, appProtocol string, number uint16) Protocol {
	if p, ok := ParseProtocol(appProtocol); ok {
		return p
	}
	lower := strings.ToLower(name)
	if lower == "grpc-web" || strings.HasPrefix(lower, "grpc-web-") {
		return GRPCWeb
	}
	prefix, _, _ := strings.Cut(lower, "-")
	if p, ok := ParseProtocol(prefix); ok {
		return p
	}
	switch number {
	case 25, 53, 3306, 27017:
		return TCP
	}
	return Auto
}
