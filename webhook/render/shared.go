package render

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// What is the same in every pod is made once. All injected pods point to it and nobody
// changes it; the webhook knows it by its address and does not encode it again.
var (
	sharedVolumes = slices.Clip(commonVolumes())
	sharedMounts  = slices.Clip(commonMounts())
	sharedSources = sources()
)

// sources are where variables take their values from, by the field or resource.
func sources() map[string]*corev1.EnvVarSource {
	out := map[string]*corev1.EnvVarSource{}
	for _, path := range []string{
		"metadata.name", "metadata.namespace", "status.podIP", "spec.serviceAccountName", "status.hostIP", "spec.nodeName",
	} {
		out[path] = &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	for _, of := range []string{"limits.cpu", "limits.memory"} {
		out[of] = &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{
			Resource: of, Divisor: *resource.NewQuantity(1, resource.DecimalSI),
		}}
	}
	return out
}
