package render

import (
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// longList is how many elements of a list the library is given at most: it compares each
// with each, so that a long list would hold up the API server for seconds.
const longList = 64

// aside is what the library is not given of a user's container: elements of long lists
// that meet none of the injected ones.
type aside struct {
	env     []corev1.EnvVar
	mounts  []corev1.VolumeMount
	ports   []corev1.ContainerPort
	devices []corev1.VolumeDevice
}

// setAside takes them out of the container; its lists are replaced, not changed.
func setAside(user *corev1.Container, injected *corev1.Container) aside {
	var a aside
	user.Env, a.env = split(user.Env, injected.Env, variableName)
	user.VolumeMounts, a.mounts = split(user.VolumeMounts, injected.VolumeMounts, func(m *corev1.VolumeMount) string { return m.MountPath })
	user.Ports, a.ports = split(user.Ports, injected.Ports, func(p *corev1.ContainerPort) int32 { return p.ContainerPort })
	user.VolumeDevices, a.devices = split(user.VolumeDevices, injected.VolumeDevices, func(d *corev1.VolumeDevice) string { return d.DevicePath })
	return a
}

// putBack adds them to the merged container: variables behind the injected ones, which
// they may refer to, the others before them, as the library has it.
func (a aside) putBack(c *corev1.Container) {
	c.Env = append(c.Env, a.env...)
	c.VolumeMounts = slices.Concat(a.mounts, c.VolumeMounts)
	c.Ports = slices.Concat(a.ports, c.Ports)
	c.VolumeDevices = slices.Concat(a.devices, c.VolumeDevices)
}

// split parts a long list into elements that change an injected one and the rest. Of
// several with the same key the last counts.
func split[T any, K comparable](list, injected []T, key func(*T) K) (meet, own []T) {
	if len(list) <= longList {
		return list, nil
	}
	known := make(map[K]*T, len(injected))
	for i := range injected {
		known[key(&injected[i])] = &injected[i]
	}
	at := make(map[K]int, len(list))
	for i := range list {
		k := key(&list[i])
		into := &own
		if same, ok := known[k]; ok {
			if reflect.DeepEqual(*same, list[i]) {
				continue
			}
			into = &meet
		}
		if before, ok := at[k]; ok {
			(*into)[before] = list[i]
			continue
		}
		at[k] = len(*into)
		*into = append(*into, list[i])
	}
	return meet, own
}

// finder returns where in a list the first element of a name is, -1 for nowhere.
func finder[T any](list []T, name func(*T) string) func(string) int {
	if len(list) <= longList {
		return func(wanted string) int {
			for i := range list {
				if name(&list[i]) == wanted {
					return i
				}
			}
			return -1
		}
	}
	at := make(map[string]int, len(list))
	for i := range list {
		if _, ok := at[name(&list[i])]; !ok {
			at[name(&list[i])] = i
		}
	}
	return func(wanted string) int {
		if i, ok := at[wanted]; ok {
			return i
		}
		return -1
	}
}

func itself(s *string) string { return *s }
