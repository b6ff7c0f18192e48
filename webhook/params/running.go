package params

import corev1 "k8s.io/api/core/v1"

// ProxyImage returns the image that Resolve gives the proxy of the pod, for a pod that may
// be running already; empty when the pod's settings cannot be read.
func ProxyImage(in Input) string {
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
