package params

import (
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicemesh/sluice/internal/meta"
)

// cronJobName is how the CronJob controller names its Jobs: the schedule's minute, in
// older versions its second, follows the name.
var cronJobName = regexp.MustCompile(`^(.+)-\d{8,10}$`)

// workload finds what the user would call the workload: the Deployment of a ReplicaSet,
// the CronJob of a Job, else the controller, else the pod itself.
func workload(pod *corev1.Pod, namespace string) Workload {
	w := Workload{
		Namespace: firstNonEmpty(pod.Namespace, namespace),
		Name:      pod.Name, Kind: "Pod", APIVersion: "v1",
	}
	if pod.GenerateName != "" {
		if owner := metav1.GetControllerOf(pod); owner != nil {
			w.Name, w.Kind, w.APIVersion = owner.Name, owner.Kind, owner.APIVersion
			w.parent(pod)
		}
	}
	if w.Name == "" {
		w.Name = firstNonEmpty(pod.Name, strings.TrimSuffix(pod.GenerateName, "-"))
	}
	return w
}

// parent replaces a controller that another one made by that one, judging by names and
// labels alone: the injector asks nobody.
func (w *Workload) parent(pod *corev1.Pod) {
	switch w.Kind {
	case "ReplicaSet":
		if hash := pod.Labels[meta.RolloutsPodTemplateHash]; hash != "" && strings.HasSuffix(w.Name, "-"+hash) {
			w.Name, w.Kind, w.APIVersion = strings.TrimSuffix(w.Name, "-"+hash), "Rollout", "v1alpha1"
			return
		}
		if hash := pod.Labels[meta.PodTemplateHash]; hash != "" && strings.HasSuffix(w.Name, "-"+hash) {
			w.Name, w.Kind = strings.TrimSuffix(w.Name, "-"+hash), "Deployment"
		}
	case "ReplicationController":
		if name := pod.Labels[meta.DeploymentConfig]; name != "" {
			w.Name, w.Kind = name, "DeploymentConfig"
		}
	case "Job":
		if m := cronJobName.FindStringSubmatch(w.Name); m != nil {
			w.Name, w.Kind, w.APIVersion = m[1], "CronJob", "batch/v1"
		}
	}
}
