// Package endpoint builds load assignments: the endpoints of one service port, or of one
// subset of it, as Envoy takes them.
//
// The parameters of Build are its cache key. The package is pure; which service the
// endpoints belong to and which of them exist was settled before.
package endpoint

import (
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/ir"
)

// Key is what besides the endpoints decides an assignment.
type Key struct {
	// Families are those of the proxy's pod; endpoints of others are left out. 0 means all.
	Families class.Families
	// MarkPlain marks the endpoints without a proxy with the metadata that the cluster's
	// match tlsMode-disabled looks for; cluster.MarksPlain says whether a cluster has it.
	// Endpoints with a proxy carry no metadata at all: it costs Envoy 5 KB each.
	MarkPlain bool
}

// Build returns the load assignment of the cluster name.
func Build(name string, eps []ir.Endpoint, subset ir.Labels, k Key) *endpointv3.ClusterLoadAssignment {
	panic("not built yet")
}
