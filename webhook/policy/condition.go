package policy

import (
	"regexp"

	admissionv1 "k8s.io/api/admissionregistration/v1"

	"github.com/sluicemesh/sluice/internal/meta"
)

// The names of the conditions that the chart puts on each entry, so that pods of no concern
// never reach the injector. The expressions are the chart's; a predicate here means the
// same as the expression of its name.
const (
	NotHostNetwork     = "not-host-network"
	NotSystemNamespace = "not-system-namespace"
	NotControlPlane    = "not-control-plane"
	NotOptedOut        = "not-opted-out"
)

// holds evaluates the condition of an entry for a question; known is false for a condition
// that is not the chart's.
func (c Condition) holds(w *Webhook, q *Question) (holds, known bool) {
	switch c.Name {
	case NotHostNetwork:
		return !q.Pod.Spec.HostNetwork, true
	case NotSystemNamespace:
		return !ignored(q.Namespace.Name), true
	case NotControlPlane:
		return q.Namespace.Name != w.ControlPlane || q.Pod.Labels[meta.Inject] == "true", true
	case NotOptedOut:
		_, labelled := q.Pod.Labels[meta.Inject]
		return labelled || q.Pod.Annotations[meta.Inject] != "false", true
	}
	return true, false
}

// found says what a condition looked at.
func (c Condition) found(q *Question) string {
	f := gather(q.Pod, q.Namespace.Name, Rules{})
	switch c.Name {
	case NotHostNetwork:
		return foundHost(f)
	case NotSystemNamespace:
		return foundNamespace(facts{namespace: q.Namespace.Name})
	case NotControlPlane:
		return foundNamespace(facts{namespace: q.Namespace.Name}) + ", " + foundLabel("pod", meta.Inject, q.Pod.Labels)
	case NotOptedOut:
		return foundChoice(f)
	}
	return "not evaluated here, taken as true: " + c.Expression
}

// controlPlane returns the namespace that the condition not-control-plane of an entry
// names, else that of the injector's Service; empty for neither.
func controlPlane(in *admissionv1.MutatingWebhook) string {
	named := regexp.MustCompile(`request\.namespace\s*!=\s*["']([a-z0-9-]+)["']`)
	for _, c := range in.MatchConditions {
		if m := named.FindStringSubmatch(c.Expression); m != nil && c.Name == NotControlPlane {
			return m[1]
		}
	}
	if s := in.ClientConfig.Service; s != nil {
		return s.Namespace
	}
	return ""
}
