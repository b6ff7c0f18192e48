package webhook

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/webhook/notice"
	"github.com/sluicemesh/sluice/webhook/policy"
)

// report publishes an Event for a pod that is refused or left alone against expectation.
// It does not wait for the API server. A dry run has no effects, and so no Event.
func (h *handler) report(r Request, dryRun bool, result Result) {
	n := notice.Notice{Action: "Inject"}
	switch d := result.Decision; {
	case h.notices == nil || dryRun || d.Reason == policy.PodOptedOut || result.Pod != nil:
		return
	case d.Inject:
		fatal := fatalOnly(result.Problems)
		n.Warning, n.Reason, n.Message = true, fatal[0].Reason, listed(fatal)
	default:
		n.Reason, n.Message = string(d.Reason), listed(result.Problems)
	}
	namespace := r.Namespace
	if r.Pod.Namespace != "" {
		namespace = r.Pod.Namespace
	}
	n.Regarding = notice.Owner(namespace, r.Pod.OwnerReferences)
	if n.Regarding.Kind == "Namespace" && r.Pod.Name != "" {
		n.Related = &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: r.Pod.Name}
	}
	h.notices.Post(n)
}
