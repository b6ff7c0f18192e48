package render

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// arrange sorts a merged list: what was added in the order of added, then what else is
// there, then what the user has in the user's order. The library's order of a merged list
// depends on what is in it already, so that a second merge would give another one.
func arrange[T any](list []T, name func(*T) string, added []string, user []T) {
	rank := make(map[string]int, len(added)+len(user))
	for i, n := range slices.Backward(added) { // the first of two counts
		rank[n] = i - len(added)
	}
	for i := range user {
		rank[name(&user[i])] = i + 1
	}
	slices.SortStableFunc(list, func(a, b T) int { return rank[name(&a)] - rank[name(&b)] })
}

// arrangeContainer arranges the lists of a container of the user's.
func arrangeContainer(c, user *corev1.Container) {
	arrange(c.Env, variableName, nil, user.Env)
	arrange(c.VolumeMounts, func(m *corev1.VolumeMount) string { return m.MountPath }, nil, user.VolumeMounts)
	arrange(c.VolumeDevices, func(d *corev1.VolumeDevice) string { return d.DevicePath }, nil, user.VolumeDevices)
	arrange(c.Ports, func(p *corev1.ContainerPort) string { return strconv.Itoa(int(p.ContainerPort)) + string(p.Protocol) }, nil, user.Ports)
}

func containerName(c *corev1.Container) string { return c.Name }

func volumeName(v *corev1.Volume) string { return v.Name }

func secretName(r *corev1.LocalObjectReference) string { return r.Name }
