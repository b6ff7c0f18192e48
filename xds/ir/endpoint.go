package ir

import "github.com/sluicemesh/sluice/internal/problem"

// Health of an endpoint.
type Health uint8

// The states. Terminating endpoints are left out altogether.
const (
	Healthy Health = iota
	Unhealthy
)

// Locality is a place; parts may be empty.
type Locality struct{ Region, Zone, SubZone string }

// Endpoint is one address that serves one service port.
type Endpoint struct {
	Address  string // IP address, or a DNS name for DNS resolutions
	Port     uint16
	Health   Health
	Weight   uint32 // at least 1
	Locality Locality
	Labels   Labels // of the pod or as written; subsets select by them
	// MeshTLS says that a proxy at the address accepts mesh mTLS.
	MeshTLS        bool
	ServiceAccount string // SPIFFE ID, empty if unknown
	NodeName       string
	// ServicePort is the service port that an endpoint written in a ServiceEntry serves;
	// 0 in Endpoints, whose key says it.
	ServicePort uint16
}

// Workload is one pod (running, with an address).
type Workload struct {
	Namespace, Name string
	IPs             []string // primary first
	Labels          Labels
	// ServiceAccount is the name, not the SPIFFE ID.
	ServiceAccount string
	NodeName       string
	Locality       Locality
	// MeshTLS says that the pod runs a proxy that accepts mesh mTLS (label
	// security.istio.io/tlsMode=istio).
	MeshTLS bool
	// NamedPorts are the pod's container ports by name.
	NamedPorts map[string]uint16
}

// EndpointsKey identifies the endpoints of one service port.
type EndpointsKey struct {
	Service ServiceID
	Port    uint16 // number of the service port
}

// Endpoints are all endpoints of one service port, sorted by address and port, unique.
type Endpoints struct {
	Key       EndpointsKey
	Endpoints []Endpoint
}

// EndpointSlice is one object: addresses behind a Kubernetes Service.
type EndpointSlice struct {
	Namespace, Name string
	Service         string // short name of the Service in the same namespace
	Ports           []SlicePort
	Endpoints       []SliceEndpoint
	From            problem.Origin
}

// SlicePort is a port that every endpoint of a slice serves. Its name is that of the
// service port.
type SlicePort struct {
	Name   string
	Number uint16
}

// SliceEndpoint is one member of a slice.
type SliceEndpoint struct {
	Addresses []string // IP addresses
	Health    Health
	Pod       string // name in the slice's namespace, empty if it is no pod
	Hostname  string // its own name below that of a headless service; mostly empty
	NodeName  string
	Zone      string
}

// Node is a machine that pods run on.
type Node struct {
	Name     string
	Locality Locality
}
