package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/internal/meta"
)

// refusal is a row of the table that says why no entry calls.
type refusal struct {
	reason Reason
	holds  func(*attempt) bool
	found  func(*attempt) string
	remedy func(*attempt) string
}

// refusals is tried in order when no entry calls; the last row always holds. What no label
// can change comes first.
func refusals() []refusal {
	return []refusal{
		{NoWebhook, noWebhook, foundNone, remedyInstall},
		{IgnoredNamespace, func(a *attempt) bool { return ignored(a.q.Namespace.Name) }, ofPod(foundNamespace), ofPod(remedyNamespace)},
		{HostNetwork, func(a *attempt) bool { return a.q.Pod.Spec.HostNetwork }, ofPod(foundHost), ofPod(remedyHost)},
		{NamespaceDisabled, disabled, foundNamespaceLabels, remedyEnable},
		{NamespaceOtherRevision, otherRevision, foundNamespaceRevision, remedyRevision},
		{PodOptedOut, func(a *attempt) bool { return choice(a.q.Pod) == "false" }, ofPod(foundChoice), ofPod(remedyOut)},
		{ControlPlaneNamespace, besideControlPlane, foundControlPlane, remedyControlPlane},
		{PodRevisionOther, podRevisionOther, foundPodRevision, remedyRevision},
		{NamespaceNotLabelled, unlabelled, foundUnlabelled, remedyLabel},
		{SelectorMismatch, func(*attempt) bool { return true }, foundMismatch, remedyMismatch},
	}
}

// refusal is the step that sums up why no entry calls.
func (a *attempt) refusal() Step {
	table := refusals()
	i := slices.IndexFunc(table, func(r refusal) bool { return r.holds(a) })
	return Step{
		Gate: APIServer, Rule: "an entry calls the injector", Outcome: Refuses,
		Reason: table[i].reason, Found: table[i].found(a), Remedy: table[i].remedy(a),
	}
}

// ofPod turns a text of the injector's rules into one of this table. The namespace is the
// request's here, whatever the pod says.
func ofPod(text func(facts) string) func(*attempt) string {
	return func(a *attempt) string {
		f := gather(a.q.Pod, a.q.Namespace.Name, Rules{})
		f.namespace = a.q.Namespace.Name
		return text(f)
	}
}

func noWebhook(a *attempt) bool { return len(a.live) == 0 }

func disabled(a *attempt) bool {
	v, ok := a.q.Namespace.Labels[meta.Injection]
	return ok && v != "enabled"
}

func otherRevision(a *attempt) bool {
	revision, ok := a.asked()
	return ok && a.serving(revision) == nil
}

func besideControlPlane(a *attempt) bool {
	return slices.ContainsFunc(a.kept, func(c Condition) bool { return c.Name == NotControlPlane })
}

func podRevisionOther(a *attempt) bool {
	revision, ok := a.q.Pod.Labels[meta.Revision]
	return ok && !labelled(a) && a.serving(revision) == nil
}

func unlabelled(a *attempt) bool {
	if labelled(a) {
		return false
	}
	_, ok := a.q.Pod.Labels[meta.Revision]
	return !ok
}

// labelled reports whether the namespace says anything.
func labelled(a *attempt) bool {
	_, injection := a.q.Namespace.Labels[meta.Injection]
	_, revision := a.q.Namespace.Labels[meta.Revision]
	return injection || revision
}

func foundNone(a *attempt) string {
	if len(a.q.Webhooks) > 0 {
		return fmt.Sprintf("each of the %d entries is deactivated", len(a.q.Webhooks))
	}
	return "no entry of a MutatingWebhookConfiguration ends in " + WebhookSuffix
}

func foundNamespaceLabels(a *attempt) string {
	return foundLabel("namespace", meta.Injection, a.q.Namespace.Labels)
}

func foundNamespaceRevision(a *attempt) string {
	key := meta.Revision
	if _, ok := a.q.Namespace.Labels[meta.Injection]; ok {
		key = meta.Injection
	}
	revision, _ := a.asked()
	return fmt.Sprintf("%s asks for revision %s; installed: %s", foundLabel("namespace", key, a.q.Namespace.Labels), revision, a.installed())
}

func foundPodRevision(a *attempt) string {
	return foundLabel("pod", meta.Revision, a.q.Pod.Labels) + "; installed: " + a.installed()
}

func (a *attempt) installed() string { return strings.Join(a.revisions(), ", ") }

func foundUnlabelled(a *attempt) string {
	text := fmt.Sprintf("namespace %s has neither label %s nor %s, ", a.q.Namespace.Name, meta.Injection, meta.Revision)
	_, annotated := a.q.Pod.Annotations[meta.Inject]
	wish, wished := a.q.Pod.Labels[meta.Inject]
	switch {
	case wished && wish == "true":
		return text + "and only the default revision heeds the pod's label " + meta.Inject + " alone"
	case wished:
		return text + words("and the pod's label", wish)
	case annotated:
		return text + "and the API server does not see the pod's annotation " + meta.Inject
	}
	return text + "the pod neither " + meta.Inject + " nor " + meta.Revision
}

func foundControlPlane(a *attempt) string {
	return fmt.Sprintf("namespace %s is the control plane's, and the pod has no label %s=true", a.q.Namespace.Name, meta.Inject)
}

func foundMismatch(a *attempt) string {
	return "the labels ask for an installed revision, but no entry matches them"
}

func remedyInstall(a *attempt) string {
	if len(a.q.Webhooks) > 0 {
		return "make a revision the default, or label the namespace for one that is active"
	}
	return "install the control plane: sluice install"
}

func remedyEnable(a *attempt) string {
	name := a.q.Namespace.Name
	if a.serving(defaultRevision) != nil {
		return fmt.Sprintf("kubectl label namespace %s %s=enabled --overwrite, then create the pod again", name, meta.Injection)
	}
	return fmt.Sprintf("kubectl label namespace %s %s- %s=%s --overwrite, then create the pod again", name, meta.Injection, meta.Revision, a.first())
}

// first is a revision to propose.
func (a *attempt) first() string { return a.revisions()[0] }

func remedyRevision(a *attempt) string {
	if podRevisionOther(a) {
		return fmt.Sprintf("label the pod %s=%s, or install that revision", meta.Revision, a.first())
	}
	if _, ok := a.q.Namespace.Labels[meta.Injection]; ok {
		return fmt.Sprintf("kubectl label namespace %s %s- %s=%s --overwrite, then create the pod again",
			a.q.Namespace.Name, meta.Injection, meta.Revision, a.first())
	}
	return fmt.Sprintf("kubectl label namespace %s %s=%s --overwrite, or install that revision; then create the pod again",
		a.q.Namespace.Name, meta.Revision, a.first())
}

func remedyLabel(a *attempt) string {
	if a.serving(defaultRevision) != nil {
		return fmt.Sprintf("kubectl label namespace %s %s=enabled, or label the pod %s=true; then create the pod again",
			a.q.Namespace.Name, meta.Injection, meta.Inject)
	}
	return fmt.Sprintf("kubectl label namespace %s %s=%s, or label the pod %s=%s; then create the pod again",
		a.q.Namespace.Name, meta.Revision, a.first(), meta.Revision, a.first())
}

func remedyControlPlane(*attempt) string {
	return "label the pod " + meta.Inject + "=true, as gateways do, or run it in another namespace"
}

func remedyMismatch(*attempt) string {
	return "see which entry misses above: correct its selectors, or the labels"
}
