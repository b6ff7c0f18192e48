package ir

import "github.com/sluicemesh/sluice/internal/problem"

// Gateway is one object: what the proxies it selects listen for.
type Gateway struct {
	Namespace, Name string
	Selector        Labels // empty selects every router
	Servers         []Server
	From            problem.Origin
}

// Server is one port of a Gateway.
type Server struct {
	Index    int    // in the object, whose refused servers are not here
	Port     uint16 // the user's number; the listener's is the target port of the Service
	PortName string
	Protocol Protocol
	Bind     string // address, empty = wildcard
	Name     string
	Hosts    []ServerHost
	// HTTPSRedirect answers plain HTTP with a redirect to HTTPS.
	HTTPSRedirect bool
}

// ServerHost is a host a server answers for, with the namespaces whose VirtualServices
// may bind to it.
type ServerHost struct {
	Namespace string // "" for any ("*")
	Host      string // "*", "*.example.com" or a full name
}
