// Package class says what may differ between proxies.
//
// Two proxies with equal Class get byte-identical resources, so the compiler works per
// class and never per proxy. A Class is made from the node of a stream and from what the
// control plane knows of the pod. The package is pure.
package class

import (
	"github.com/sluicemesh/sluice/internal/nodemeta"
)

// Families are the IP families of a proxy's pod.
type Families uint8

// The families, as bits.
const (
	IPv4 Families = 1 << iota
	IPv6
)

// Class is comparable and used as a map key.
type Class struct {
	Role      nodemeta.Role
	Namespace string
	// DNSDomain is the part after the namespace, "svc.cluster.local".
	DNSDomain string
	// Labels are all of the pod's labels, "k=v" sorted, joined by commas, without those
	// that differ between pods of one workload (pod-template-hash and the like).
	Labels string
	// NamedPorts are "name=number" pairs sorted and joined by commas: a Service may target
	// a port by name.
	NamedPorts     string
	ServiceAccount string
	Locality       nodemeta.Locality
	Families       Families
	Interception   string // REDIRECT, TPROXY, NONE
	// Names: the agent answers the pod's DNS queries and gets the table of host names.
	Names bool
	// Unprivileged: ports below 1024 cannot be bound.
	Unprivileged bool
}
