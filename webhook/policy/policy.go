// Package policy decides whether a pod that the API server sent to the injector is to be
// injected, and says why.
//
// It is the second of two gates: the API server's selectors look at namespace labels
// before; nothing here does. The webhook, the command line and the auditor call the same
// function. The package is pure: pod and rules in, a decision with a stable reason out.
package policy

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluicemesh/sluice/internal/meta"
)

// Reason is a stable code for a decision, used in metrics, audit annotations and the
// command line.
type Reason string

// The reasons for injecting.
const (
	PodOptedIn     Reason = "PodOptedIn"     // label or annotation says true
	AlwaysSelected Reason = "AlwaysSelected" // alwaysInjectSelector matches
	PolicyEnabled  Reason = "PolicyEnabled"  // nothing speaks against the policy "enabled"
)

// The reasons for leaving a pod alone.
const (
	HostNetwork      Reason = "HostNetwork"      // rules would capture the node's traffic
	IgnoredNamespace Reason = "IgnoredNamespace" // a namespace of the cluster itself
	PodOptedOut      Reason = "PodOptedOut"      // label or annotation says false
	NeverSelected    Reason = "NeverSelected"    // neverInjectSelector matches
	PolicyDisabled   Reason = "PolicyDisabled"   // nothing speaks against the policy "disabled"
	PolicyUnknown    Reason = "PolicyUnknown"    // the policy is neither enabled nor disabled
)

// Policy is what happens to pods that say nothing.
type Policy string

// The policies that users know.
const (
	Enabled  Policy = "enabled"
	Disabled Policy = "disabled"
)

// Rules are the injector's settings that a decision depends on. They are made once from
// the configuration and not modified afterwards.
type Rules struct {
	Policy Policy
	Never  []labels.Selector // in the user's order; empty selectors are left out
	Always []labels.Selector
}

// Decision is the answer for one pod.
type Decision struct {
	Inject bool
	Reason Reason
	// Asked reports that the pod itself asked for injection; a skip then is unexpected.
	Asked bool
	// Invalid is the value of the pod's label or annotation when it is neither true, false
	// nor empty; the decision is then made as if it were absent.
	Invalid string
}

// IgnoredNamespaces lists the namespaces that are never injected.
func IgnoredNamespaces() []string {
	return []string{metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease, "local-path-storage"}
}

// Decide answers whether pod may be injected. namespace is the request's and counts only
// when the pod names none. pod is not modified.
func Decide(pod *corev1.Pod, namespace string, r Rules) Decision {
	choice := read(pod)
	d := Decision{Asked: choice == "true"}
	if choice != "" && choice != "true" && choice != "false" {
		d.Invalid = choice
	}
	if pod.Namespace != "" {
		namespace = pod.Namespace
	}
	d.Inject, d.Reason = decide(pod, namespace, choice, r)
	return d
}

func decide(pod *corev1.Pod, namespace, choice string, r Rules) (bool, Reason) {
	switch {
	case pod.Spec.HostNetwork:
		return false, HostNetwork
	case slices.Contains(IgnoredNamespaces(), namespace):
		return false, IgnoredNamespace
	case r.Policy != Enabled && r.Policy != Disabled:
		// An unknown policy refuses even an explicit wish: the configuration is broken.
		return false, PolicyUnknown
	case choice == "true":
		return true, PodOptedIn
	case choice == "false":
		return false, PodOptedOut
	case anyMatches(r.Never, pod.Labels):
		return false, NeverSelected
	case anyMatches(r.Always, pod.Labels):
		return true, AlwaysSelected
	case r.Policy == Enabled:
		return true, PolicyEnabled
	}
	return false, PolicyDisabled
}

// read returns the pod's own choice: the label if the key exists, even when empty, else
// the deprecated annotation.
func read(pod *corev1.Pod) string {
	if v, ok := pod.Labels[meta.Inject]; ok {
		return v
	}
	return pod.Annotations[meta.Inject]
}

func anyMatches(selectors []labels.Selector, set map[string]string) bool {
	return slices.ContainsFunc(selectors, func(s labels.Selector) bool { return s.Matches(labels.Set(set)) })
}

// Selectors converts the selectors of the configuration. Empty ones match nothing and are
// left out; the second result lists the errors of those that are invalid, which are left
// out as well.
func Selectors(in []metav1.LabelSelector) ([]labels.Selector, []error) {
	var out []labels.Selector
	var errs []error
	for i := range in {
		s, err := metav1.LabelSelectorAsSelector(&in[i])
		switch {
		case err != nil:
			errs = append(errs, err)
		case !s.Empty():
			out = append(out, s)
		}
	}
	return out, errs
}
