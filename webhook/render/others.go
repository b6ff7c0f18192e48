package render

import (
	"encoding/json"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/meta"
)

// Injected returns the containers of a pod that an earlier injection added, as they are
// now; nil for a pod that was not injected.
func Injected(pod *corev1.Pod) []corev1.Container {
	text, ok := pod.Annotations[meta.Status]
	if !ok {
		return nil
	}
	var s status
	if json.Unmarshal([]byte(text), &s) != nil {
		return nil // Strip says so
	}
	var out []corev1.Container
	for _, list := range []struct {
		have  []corev1.Container
		added []string
	}{{pod.Spec.Containers, s.Containers}, {pod.Spec.InitContainers, s.InitContainers}} {
		for _, c := range list.have {
			if slices.Contains(list.added, c.Name) {
				out = append(out, c)
			}
		}
	}
	return out
}

// keepOthers keeps the variables and mounts that another webhook gave to the container
// since an earlier injection by the same configuration: it is not called a third time. An
// injection by another configuration leaves nothing behind, whoever added it.
func (w *writer) keepOthers(c *corev1.Container) {
	at := slices.IndexFunc(w.Earlier, func(e corev1.Container) bool { return e.Name == c.Name })
	if at < 0 || !sameInjection(&w.Earlier[at], c) {
		return
	}
	earlier := &w.Earlier[at]
	own := ownVariables()
	for _, e := range earlier.Env {
		if !own[e.Name] && !slices.ContainsFunc(c.Env, func(have corev1.EnvVar) bool { return have.Name == e.Name }) {
			c.Env = append(c.Env, e)
		}
	}
	mounts, volume := slices.Clip(c.VolumeMounts), finder(w.out.Spec.Volumes, volumeName) // mounts are shared by all pods
	for _, m := range earlier.VolumeMounts {
		there := slices.ContainsFunc(mounts, func(have corev1.VolumeMount) bool { return have.MountPath == m.MountPath })
		if !there && volume(m.Name) >= 0 {
			mounts = append(mounts, m)
		}
	}
	c.VolumeMounts = mounts
}

// sameInjection reports whether both were injected by the same configuration: everything
// that a program of the mesh reads at its start is equal, but for what the pod itself says.
func sameInjection(a, b *corev1.Container) bool {
	return a.Image == b.Image && slices.Equal(a.Args, b.Args) &&
		envValue(a, meta.EnvProxyConfig) == envValue(b, meta.EnvProxyConfig)
}

// ownVariables are those that injection sets, in some pods.
func ownVariables() map[string]bool {
	own := map[string]bool{}
	for _, n := range meta.All() {
		if n.Kind == meta.Environment {
			own[n.Name] = true
		}
	}
	return own
}
