package params

import corev1 "k8s.io/api/core/v1"

// ProxyImage returns the image that Resolve gives the proxy of a pod that may be running
// already. It is empty where that cannot be told: when the pod's settings cannot be read, and
// for text templates, which may name another. Of the input, the path and whether native
// sidecars may be used do not count.
func ProxyImage(in Input) string {
	r := newReader(in)
	_, texts := r.templates()
	image := r.images(r.proxyConfig()).Proxy
	if len(texts) > 0 || len(r.problems) > 0 {
		return ""
	}
	return image
}

// Owner returns what the user would call the pod's workload: the Deployment of a
// ReplicaSet, the CronJob of a Job, else the controller, else the pod itself.
func Owner(pod *corev1.Pod) Workload { return workload(pod, "") }
