// Package pod converts Kubernetes Pods into workloads. The package is pure.
package pod

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/xds/ir"
)

const (
	tlsModeLabel  = "security.istio.io/tlsMode"
	localityLabel = "istio-locality"
)

// Convert returns the workload of a pod. ok is false for a pod that takes no part in the
// mesh: one that has no address yet or has ended.
func Convert(p *corev1.Pod) (w ir.Workload, ok bool) {
	if p.Status.PodIP == "" || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return w, false
	}
	w = ir.Workload{
		Namespace: p.Namespace, Name: p.Name, IPs: []string{p.Status.PodIP},
		Labels: ir.LabelsOf(p.Labels), ServiceAccount: p.Spec.ServiceAccountName, NodeName: p.Spec.NodeName,
		Locality: locality(p.Labels[localityLabel]),
		// A pod on its node's network is never injected, whatever its labels say.
		MeshTLS:    p.Labels[tlsModeLabel] == "istio" && !p.Spec.HostNetwork,
		NamedPorts: namedPorts(p.Spec),
	}
	if w.ServiceAccount == "" {
		w.ServiceAccount = "default"
	}
	for _, ip := range p.Status.PodIPs {
		if ip.IP != p.Status.PodIP {
			w.IPs = append(w.IPs, ip.IP)
		}
	}
	return w, true
}

// locality reads "region.zone.subzone": a label value cannot hold slashes.
func locality(text string) ir.Locality {
	parts := strings.SplitN(text, ".", 3)
	for len(parts) < 3 {
		parts = append(parts, "")
	}
	return ir.Locality{Region: parts[0], Zone: parts[1], SubZone: parts[2]}
}

// namedPorts are the container ports by name, of native sidecars too; the first of a name
// counts.
func namedPorts(spec corev1.PodSpec) map[string]uint16 {
	out := map[string]uint16{}
	add := func(c corev1.Container) {
		for _, port := range c.Ports {
			if _, there := out[port.Name]; !there && port.Name != "" && port.Protocol != corev1.ProtocolUDP {
				out[port.Name] = uint16(port.ContainerPort)
			}
		}
	}
	for _, c := range spec.Containers {
		add(c)
	}
	for _, c := range spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			add(c)
		}
	}
	return out
}
