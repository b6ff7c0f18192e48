package patch

import (
	"encoding/json"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/webhook/params"
	"github.com/sluicemesh/sluice/webhook/render"
)

// Fragments are parts of injected pods that are the same in all of them, as JSON. They are
// found by what they point to, so that a hit says that the part is the very same; what
// render makes for one pod only is encoded. The zero value knows nothing.
type Fragments struct {
	volumes map[corev1.Volume]string
	sources map[*corev1.EnvVarSource]string
	mounts  map[mountsKey]string
}

// mountsKey identifies a list of mounts, which is not empty, by its place in memory.
type mountsKey struct {
	first  *corev1.VolumeMount
	length int
}

func mountsOf(list []corev1.VolumeMount) mountsKey { return mountsKey{&list[0], len(list)} }

// Learn injects a pod twice and keeps what both results point to. The error is one of
// encoding.
func Learn(defaults *params.Defaults) (Fragments, error) {
	out := Fragments{
		volumes: map[corev1.Volume]string{}, sources: map[*corev1.EnvVarSource]string{}, mounts: map[mountsKey]string{},
	}
	one, two := sample(defaults), sample(defaults)
	if one == nil || two == nil {
		return out, nil // no pod without a setting of its own can be injected
	}
	for i, v := range one.Spec.Volumes {
		if v == two.Spec.Volumes[i] {
			if err := keep(out.volumes, v, v); err != nil {
				return Fragments{}, err
			}
		}
	}
	other := proxies(two)
	for i, c := range proxies(one) {
		for j, e := range c.Env {
			if e.ValueFrom != nil && e.ValueFrom == other[i].Env[j].ValueFrom {
				if err := keep(out.sources, e.ValueFrom, e.ValueFrom); err != nil {
					return Fragments{}, err
				}
			}
		}
		if len(c.VolumeMounts) > 0 && mountsOf(c.VolumeMounts) == mountsOf(other[i].VolumeMounts) {
			if err := keep(out.mounts, mountsOf(c.VolumeMounts), c.VolumeMounts); err != nil {
				return Fragments{}, err
			}
		}
	}
	return out, nil
}

func keep[K comparable](in map[K]string, key K, v any) error {
	data, err := json.Marshal(v)
	in[key] = string(data)
	return err
}

// sample is a pod with nothing of its own, injected; nil where that is refused.
func sample(defaults *params.Defaults) *corev1.Pod {
	pod := &corev1.Pod{}
	pod.Name = "sample"
	pod.Spec.Containers = []corev1.Container{{Name: "app", Image: "app"}}
	p, problems := params.Resolve(params.Input{Pod: pod, Namespace: "default", Defaults: defaults})
	if problem.AnyFatal(problems) {
		return nil
	}
	out, _ := render.Pod(pod, p)
	return out
}

func proxies(pod *corev1.Pod) []corev1.Container {
	return slices.DeleteFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers),
		func(c corev1.Container) bool { return c.Name == "app" })
}
