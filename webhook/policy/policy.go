// Package policy decides whether a pod is injected, and says why.
//
// Two gates stand before a pod. The API server's comes first: the selectors and conditions
// of the webhook configurations decide whether the injector is asked at all. The injector's
// own comes second. Decide is the second alone, what the webhook calls for each pod; Explain
// walks both and lists each rule that was tried, what was found and what to change: the
// command line and the auditor call it. Both walk one table of rules, so they cannot
// disagree.
//
// The package is pure: pod, namespace, webhook configurations and rules in, a decision with
// a stable reason out. Nothing it is given is modified.
package policy

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluicemesh/sluice/internal/meta"
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

// localPathStorage is where small clusters run the provisioner of their volumes.
const localPathStorage = "local-path-storage"

func ignored(namespace string) bool {
	switch namespace {
	case metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease, localPathStorage:
		return true
	}
	return false
}

// Decide answers whether the injector injects pod. namespace is the request's and counts
// only when the pod names none.
func Decide(pod *corev1.Pod, namespace string, r Rules) Decision {
	f := gather(pod, namespace, r)
	row := f.deciding()
	return f.decision(row.inject, row.reason)
}

// Why is Decide in words: the row that decides, with what was found and, where the pod is
// not injected, what to change.
func Why(pod *corev1.Pod, namespace string, r Rules) Step {
	f := gather(pod, namespace, r)
	row := f.deciding()
	return row.decided(f)
}

// facts is what the injector's rules look at. It is passed by value: the rules are called
// through the table, and a pointer would move it to the heap for every pod.
type facts struct {
	pod       *corev1.Pod
	namespace string
	choice    string // the pod's own wish, verbatim
	rules     Rules
}

func gather(pod *corev1.Pod, namespace string, r Rules) facts {
	if pod.Namespace != "" {
		namespace = pod.Namespace
	}
	return facts{pod: pod, namespace: namespace, choice: choice(pod), rules: r}
}

// deciding returns the first row of the table that holds; the last one always does.
func (f facts) deciding() rule {
	table := injectorRules()
	last := len(table) - 1
	for i := range last {
		if table[i].holds(f) {
			return table[i]
		}
	}
	return table[last]
}

func (f facts) decision(inject bool, reason Reason) Decision {
	d := Decision{Inject: inject, Reason: reason, Asked: f.choice == "true"}
	if f.choice != "" && f.choice != "true" && f.choice != "false" {
		d.Invalid = f.choice
	}
	return d
}

// choice returns the pod's own wish: the label if the key exists, even when empty, else
// the deprecated annotation.
func choice(pod *corev1.Pod) string {
	if v, ok := pod.Labels[meta.Inject]; ok {
		return v
	}
	return pod.Annotations[meta.Inject]
}

// firstMatch returns the first selector that matches the labels, nil for none.
func firstMatch(selectors []labels.Selector, set map[string]string) labels.Selector {
	for _, s := range selectors {
		if s.Matches(labels.Set(set)) {
			return s
		}
	}
	return nil
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
