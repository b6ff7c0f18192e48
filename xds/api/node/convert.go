// Package node converts Kubernetes Nodes: all that the mesh asks of one is where it is.
// The package is pure.
package node

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/xds/ir"
)

// Labels that say where a node is. Source: Kubernetes well-known labels; Istio adds the
// sub-zone.
const (
	regionLabel  = "topology.kubernetes.io/region"
	zoneLabel    = "topology.kubernetes.io/zone"
	subZoneLabel = "topology.istio.io/subzone"
)

// Convert returns the node. It has no problems of its own.
func Convert(n *corev1.Node) ir.Node {
	return ir.Node{Name: n.Name, Locality: ir.Locality{
		Region: n.Labels[regionLabel], Zone: n.Labels[zoneLabel], SubZone: n.Labels[subZoneLabel],
	}}
}
