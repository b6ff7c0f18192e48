package render

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sluicemesh/sluice/internal/identity"
)

// What is the same in every pod is made once. All injected pods point to it and nobody
// changes it; the webhook knows it by its address and does not encode it again.
var (
	sharedVolumes = slices.Clip(proxyVolumes())
	sharedMounts  = slices.Clip(proxyMounts())
	sharedSources = sources()
)

// tokenSeconds is the lifetime of the token that proves the pod's service account.
const tokenSeconds int64 = 43200

// Of the roots of the control plane: the volume, and the ConfigMap that has them unless
// the mesh says otherwise.
const (
	rootsVolume = "istiod-ca-cert"
	usualRoots  = "istio-ca-root-cert"
)

// proxyVolumes are those of every proxy.
func proxyVolumes() []corev1.Volume {
	optional := true
	seconds := tokenSeconds
	return []corev1.Volume{
		{Name: "workload-socket", VolumeSource: empty("")},
		{Name: "credential-socket", VolumeSource: empty("")},
		{Name: "workload-certs", VolumeSource: empty("")},
		{Name: "istiod-ca-cert", VolumeSource: config(usualRoots, nil)},
		{Name: "istio-ca-crl", VolumeSource: config("istio-ca-crl", &optional)},
		{Name: "istio-data", VolumeSource: empty("")},
		{Name: "istio-envoy", VolumeSource: empty(corev1.StorageMediumMemory)},
		{Name: "istio-token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
				Audience: identity.TokenAudience, ExpirationSeconds: &seconds, Path: "istio-token",
			}}},
		}}},
		{Name: "istio-podinfo", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
			Items: []corev1.DownwardAPIVolumeFile{field("labels", "metadata.labels"), field("annotations", "metadata.annotations")},
		}}},
	}
}

// proxyMounts are those of every proxy.
func proxyMounts() []corev1.VolumeMount {
	return []corev1.VolumeMount{
		{Name: "workload-socket", MountPath: "/var/run/secrets/workload-spiffe-uds"},
		{Name: "credential-socket", MountPath: "/var/run/secrets/credential-uds"},
		{Name: "workload-certs", MountPath: "/var/run/secrets/workload-spiffe-credentials"},
		{Name: rootsVolume, MountPath: "/var/run/secrets/istio"},
		{Name: "istio-ca-crl", MountPath: "/var/run/secrets/istio/crl"},
		{Name: "istio-data", MountPath: "/var/lib/istio/data"},
		{Name: "istio-envoy", MountPath: "/etc/istio/proxy"},
		{Name: "istio-token", MountPath: "/var/run/secrets/tokens"},
		{Name: "istio-podinfo", MountPath: "/etc/istio/pod"},
	}
}

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
