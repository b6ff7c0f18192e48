package render

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/identity"
)

// tokenSeconds is the lifetime of the token that proves the pod's service account.
const tokenSeconds int64 = 43200

// volumes adds the proxy's volumes before the user's. A user's volume of the same name
// stays: that is how another identity provider takes the place of ours.
func (w *writer) volumes() {
	user := w.out.Spec.Volumes
	list := make([]corev1.Volume, 0, len(sharedVolumes)+len(user))
	added := make([]string, 0, len(sharedVolumes))
	for i := range sharedVolumes {
		v := &sharedVolumes[i]
		if hasVolume(user, v.Name) {
			continue
		}
		list = append(list, *v)
		added = append(added, v.Name)
	}
	list = append(list, user...)
	w.out.Spec.Volumes = list
	if len(added) > 0 {
		w.status.Volumes = added
	}
}

func hasVolume(list []corev1.Volume, name string) bool {
	for i := range list {
		if list[i].Name == name {
			return true
		}
	}
	return false
}

// pullSecrets adds the mesh's secrets that the pod does not name itself.
func (w *writer) pullSecrets() {
	user := w.out.Spec.ImagePullSecrets
	var list []corev1.LocalObjectReference
	for _, name := range w.Images.PullSecrets {
		ref := corev1.LocalObjectReference{Name: name}
		if slices.Contains(user, ref) || slices.Contains(list, ref) {
			continue
		}
		list = append(list, ref)
		w.status.ImagePullSecrets = append(w.status.ImagePullSecrets, name)
	}
	if len(list) > 0 {
		w.out.Spec.ImagePullSecrets = slices.Concat(list, user)
	}
}

func proxyVolumes() []corev1.Volume {
	optional := true
	seconds := tokenSeconds
	config := func(name string, optional *bool) corev1.VolumeSource {
		return corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: name}, Optional: optional,
		}}
	}
	empty := func(medium corev1.StorageMedium) corev1.VolumeSource {
		return corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: medium}}
	}
	field := func(path, of string) corev1.DownwardAPIVolumeFile {
		return corev1.DownwardAPIVolumeFile{Path: path, FieldRef: &corev1.ObjectFieldSelector{FieldPath: of}}
	}
	return []corev1.Volume{
		{Name: "workload-socket", VolumeSource: empty("")},
		{Name: "credential-socket", VolumeSource: empty("")},
		{Name: "workload-certs", VolumeSource: empty("")},
		{Name: "istiod-ca-cert", VolumeSource: config("istio-ca-root-cert", nil)},
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

func mounts() []corev1.VolumeMount {
	return []corev1.VolumeMount{
		{Name: "workload-socket", MountPath: "/var/run/secrets/workload-spiffe-uds"},
		{Name: "credential-socket", MountPath: "/var/run/secrets/credential-uds"},
		{Name: "workload-certs", MountPath: "/var/run/secrets/workload-spiffe-credentials"},
		{Name: "istiod-ca-cert", MountPath: "/var/run/secrets/istio"},
		{Name: "istio-ca-crl", MountPath: "/var/run/secrets/istio/crl"},
		{Name: "istio-data", MountPath: "/var/lib/istio/data"},
		{Name: "istio-envoy", MountPath: "/etc/istio/proxy"},
		{Name: "istio-token", MountPath: "/var/run/secrets/tokens"},
		{Name: "istio-podinfo", MountPath: "/etc/istio/pod"},
	}
}
