package render

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/identity"
	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/webhook/params"
)

// tokenSeconds is the lifetime of the token that proves the pod's service account.
const tokenSeconds int64 = 43200

// volumes adds the proxy's volumes before the user's. A user's volume of the same name
// stays: that is how another identity provider takes the place of ours. It reports a
// mount of the user's without a volume.
func (w *writer) volumes() bool {
	injected := w.proxyVolumes()
	list := make([]corev1.Volume, 0, len(injected)+len(w.out.Spec.Volumes))
	w.status.Volumes = make([]string, 0, len(injected))
	if w.Extra != nil {
		list = w.addVolumes(list, w.Extra.Volumes)
	}
	list = w.addVolumes(list, injected)
	if len(list) == 0 {
		w.status.Volumes = nil
	}
	list = append(list, w.out.Spec.Volumes...)
	w.out.Spec.Volumes = list
	return w.Extra == nil || w.mountsKnown()
}

// addVolumes appends those that are not there yet.
func (w *writer) addVolumes(list, more []corev1.Volume) []corev1.Volume {
	added, user := finder(list, volumeName), finder(w.out.Spec.Volumes, volumeName)
	again := finder(more, volumeName)
	for i := range more {
		if name := more[i].Name; added(name) < 0 && user(name) < 0 && again(name) == i {
			list = append(list, more[i])
			w.status.Volumes = append(w.status.Volumes, name)
		}
	}
	return list
}

// mountsKnown reports mounts from the annotation that name no volume of the pod.
func (w *writer) mountsKnown() bool {
	known, volume := true, finder(w.out.Spec.Volumes, volumeName)
	for _, m := range w.Extra.Mounts {
		if volume(m.Name) < 0 {
			w.report("metadata.annotations["+meta.UserVolumeMount+"]", params.InvalidAnnotation, true,
				"the pod has no volume "+strconv.Quote(m.Name)+": add it to the pod or to "+meta.UserVolume)
			known = false
		}
		if m.MountPath == "" {
			w.report("metadata.annotations["+meta.UserVolumeMount+"]", params.InvalidAnnotation, true,
				strconv.Quote(m.Name)+" has no mountPath")
			known = false
		}
	}
	return known
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

func config(name string, optional *bool) corev1.VolumeSource {
	return corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: name}, Optional: optional,
	}}
}

func secret(name string) corev1.VolumeSource {
	optional := true
	return corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name, Optional: &optional}}
}

func empty(medium corev1.StorageMedium) corev1.VolumeSource {
	return corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: medium}}
}

func field(path, of string) corev1.DownwardAPIVolumeFile {
	return corev1.DownwardAPIVolumeFile{Path: path, FieldRef: &corev1.ObjectFieldSelector{FieldPath: of}}
}

// roots is where the control plane's roots come from.
func roots(t params.Trust) corev1.VolumeSource {
	if t.Bundle == "" {
		return config(t.ConfigMap, nil)
	}
	return corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{
		ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{Name: &t.Bundle, Path: "root-cert.pem"},
	}}}}
}

// proxyVolumes are those that the proxy needs in this pod: most often, those of all pods.
func (w *writer) proxyVolumes() []corev1.Volume {
	list := sharedVolumes
	if w.Trust.ConfigMap != params.RootConfigMap {
		list = slices.Clone(list)
		for i := range list {
			if list[i].Name == rootsVolume {
				list[i].VolumeSource = roots(w.Trust)
			}
		}
	}
	if w.Extra != nil && w.Extra.Bootstrap != "" {
		list = append(list, corev1.Volume{Name: bootstrapVolume, VolumeSource: config(w.Extra.Bootstrap, nil)})
	}
	if w.Trust.Secrets {
		account := first(w.in.Spec.ServiceAccountName, "default")
		list = append(list, corev1.Volume{Name: "istio-certs", VolumeSource: secret("istio." + account)})
	}
	if w.Trust.Tracing != "" {
		list = append(list, corev1.Volume{Name: "lightstep-certs", VolumeSource: secret("lightstep.cacert")})
	}
	return list
}

// commonVolumes are those of every pod.
func commonVolumes() []corev1.Volume {
	optional := true
	seconds := tokenSeconds
	return []corev1.Volume{
		{Name: "workload-socket", VolumeSource: empty("")},
		{Name: "credential-socket", VolumeSource: empty("")},
		{Name: "workload-certs", VolumeSource: empty("")},
		{Name: rootsVolume, VolumeSource: config(params.RootConfigMap, nil)},
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

// rootsVolume holds the control plane's roots.
const rootsVolume = "istiod-ca-cert"

// Where the user's part of Envoy's bootstrap is mounted.
const (
	bootstrapVolume = "custom-bootstrap-volume"
	bootstrapDir    = "/etc/istio/custom-bootstrap"
)

// mounts are those of the proxy. The user's own take the place of one at the same path.
func (w *writer) mounts() []corev1.VolumeMount {
	list := sharedMounts // full: appending copies
	if w.Trust.Secrets {
		list = append(list, corev1.VolumeMount{Name: "istio-certs", MountPath: "/etc/certs/", ReadOnly: true})
	}
	if w.Trust.Tracing != "" {
		list = append(list, corev1.VolumeMount{Name: "lightstep-certs", MountPath: w.Trust.Tracing, ReadOnly: true})
	}
	if w.Extra == nil {
		return list
	}
	if w.Extra.Bootstrap != "" {
		list = append(list, corev1.VolumeMount{Name: bootstrapVolume, MountPath: bootstrapDir})
	}
	list = slices.Clone(list)
	places := make(map[string]int, len(list))
	for i := range list {
		places[list[i].MountPath] = i
	}
	for _, m := range w.Extra.Mounts {
		if at, ok := places[m.MountPath]; ok {
			list[at] = m
			continue
		}
		places[m.MountPath] = len(list)
		list = append(list, m)
	}
	return list
}

// commonMounts are those of every proxy.
func commonMounts() []corev1.VolumeMount {
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
