// Package namespace looks through Kubernetes Namespaces for settings that other meshes
// know and this one does not have yet. Nothing of the mesh itself depends on a namespace
// object: members name their namespace. The package is pure.
package namespace

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/api/object"
)

// Convert returns the problems of a namespace.
func Convert(ns *corev1.Namespace) []problem.Problem {
	notes := object.Notes{Origin: object.Origin("Namespace", ns)}
	for _, label := range []string{"istio.io/dataplane-mode", "istio.io/use-waypoint", "topology.istio.io/network"} {
		if v, ok := ns.Labels[label]; ok && v != "none" {
			notes.Warn("metadata.labels["+label+"]", object.NotSupported, "%q has no effect yet; remove the label", v)
		}
	}
	if v, ok := ns.Annotations["networking.istio.io/traffic-distribution"]; ok {
		notes.Warn("metadata.annotations[networking.istio.io/traffic-distribution]", object.NotSupported, "%q has no effect yet; remove the annotation", v)
	}
	return notes.Problems
}
