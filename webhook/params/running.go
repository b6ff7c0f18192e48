package params

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/meta"
)

// ProxyImage returns the image that Resolve gives the proxy of a pod that may be running
// already. It is empty where that cannot be told: when the pod's settings cannot be read, and
// for templates beside the built-in ones, which may name another. Of the input, the path and
// whether native sidecars may be used do not count.
func ProxyImage(in Input) string {
	for word := range strings.SplitSeq(in.Pod.Annotations[meta.Templates], ",") {
		switch Template(strings.TrimSpace(word)) {
		case "", Sidecar, Gateway:
		default:
			return ""
		}
	}
	r := newReader(in)
	image := r.images(r.proxyConfig()).Proxy
	if len(r.problems) > 0 {
		return ""
	}
	return image
}

// Owner returns what the user would call the pod's workload: the Deployment of a
// ReplicaSet, the CronJob of a Job, else the controller, else the pod itself.
func Owner(pod *corev1.Pod) Workload { return workload(pod, "") }
