package ir

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/internal/problem"
)

// Registry says which kind of object a service came from. On the same host name a
// Kubernetes Service beats a ServiceEntry.
type Registry uint8

// The registries.
const (
	Kubernetes Registry = iota
	External            // ServiceEntry
)

// Resolution is how the endpoints of a service become known to a proxy.
type Resolution uint8

// The resolutions.
const (
	Static        Resolution = iota // endpoints pushed by the control plane
	DNS                             // the proxy resolves names, all addresses are used
	DNSRoundRobin                   // the proxy resolves names, one address per connection
	Passthrough                     // the address the client dialled (headless, resolution NONE)
)

// ServiceID identifies a service: the namespace it was declared in and its host name,
// lower case, without a trailing dot ("reviews.default.svc.cluster.local", "*.example.com").
type ServiceID struct {
	Namespace string
	Host      string
}

// Service is one host name with its ports.
type Service struct {
	ID       ServiceID
	Registry Registry
	// Name is the short name of a Kubernetes Service, empty for External.
	Name string
	// Addresses are the virtual addresses: cluster IPs, or addresses of a ServiceEntry
	// (full-length prefixes). Empty for headless services and entries without address.
	Addresses  []netip.Prefix
	Ports      []Port // in the object's order; numbers are unique per L4 protocol
	Resolution Resolution
	// Headless is a Kubernetes Service with clusterIP None.
	Headless bool
	// MeshExternal is a ServiceEntry with location MESH_EXTERNAL: no mesh mTLS by itself.
	MeshExternal bool
	ExportTo     Visibility
	// Selector selects pods of the namespace; empty selects none.
	Selector Labels
	// Endpoints are written in the object itself (ServiceEntry); address is an IP or, for
	// DNS resolutions, a name.
	Endpoints []Endpoint
	// SubjectAltNames are accepted besides the identities of the endpoints.
	SubjectAltNames []string
	From            problem.Origin
}

// Port returns the port with that number that proxies handle (not UDP), or false.
func (s Service) Port(number uint16) (Port, bool) {
	for _, p := range s.Ports {
		if p.Number == number && p.Protocol != UDP {
			return p, true
		}
	}
	return Port{}, false
}

// Port is one port of a service.
type Port struct {
	Name     string
	Number   uint16
	Protocol Protocol
	// Target is where the pod listens: by number, or by the name of a container port.
	// For External services the number that endpoints without an own port use.
	Target     uint16 // 0 when TargetName is set
	TargetName string
}

// Visibility says which namespaces see an object. The zero value is public.
type Visibility struct {
	// Private: only the object's own namespace ("."), nobody at all with None ("~").
	Private bool
	None    bool
	// Namespaces are the listed namespaces; with Private false and a non-empty list only
	// these (the object's own namespace must be listed to be included).
	Namespaces []string
}

// VisibleTo reports whether an object of namespace own with this visibility is seen from
// namespace client.
func (v Visibility) VisibleTo(own, client string) bool {
	switch {
	case v.None:
		return false
	case v.Private:
		return own == client || slices.Contains(v.Namespaces, client)
	case len(v.Namespaces) > 0:
		return slices.Contains(v.Namespaces, client)
	}
	return true
}

// Labels is a set of labels as sorted "key=value" pairs; comparable by slices.Equal.
type Labels []string

// LabelsOf makes Labels of a map. The result is new and sorted.
func LabelsOf(m map[string]string) Labels {
	out := make(Labels, 0, len(m))
	for k, v := range m {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return out
}

// Get returns the value of a key.
func (l Labels) Get(key string) (string, bool) {
	i, _ := slices.BinarySearch(l, key+"=")
	if i < len(l) && strings.HasPrefix(l[i], key+"=") {
		return l[i][len(key)+1:], true
	}
	return "", false
}

// SubsetOf reports whether every pair of l is in m.
func (l Labels) SubsetOf(m Labels) bool {
	for _, pair := range l {
		if _, found := slices.BinarySearch(m, pair); !found {
			return false
		}
	}
	return true
}
