package ir

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
