// Package audit finds running pods that should have a proxy and have none, or an outdated
// one.
//
// Check is the pure part, which the command line calls with lists from the API: it asks
// policy for each pod what both gates would say today. The Auditor does the same from the
// manager's cache, on one replica of each revision: it follows pods, namespaces, webhook
// configurations and settings, and shows what it finds in gauges and in one Event per pod.
// It changes no pod, and judges only what its own revision would inject.
package audit

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/webhook/params"
	"github.com/sluicemesh/sluice/webhook/policy"
)

// Reason is a stable code for a finding: the label of the gauge.
type Reason string

// The reasons of findings.
const (
	CreatedBeforeWebhook Reason = "CreatedBeforeWebhook" // should have a proxy; the pod is older than the webhook configuration
	MissedAtCreation     Reason = "MissedAtCreation"     // should have a proxy; created while the injector was away, or before labels or settings asked for one
	ProxyRemoved         Reason = "ProxyRemoved"         // was injected, and something took the proxy out again
	OutdatedProxy        Reason = "OutdatedProxy"        // runs another proxy image than injection would give it now
)

// Cluster is what pods are judged by.
type Cluster struct {
	// Labels returns the labels of a namespace.
	Labels func(namespace string) map[string]string
	// Webhooks are the cluster's, from policy.Webhooks.
	Webhooks []policy.Webhook
	// Revision returns the settings of a revision's injector; false where they are not
	// known: its pods are not judged then.
	Revision func(name string) (Revision, bool)
}

// Revision is what is known of one revision's injector.
type Revision struct {
	Rules policy.Rules
	// Image returns the proxy image that injection would give the pod now; empty where that
	// cannot be told.
	Image func(*corev1.Pod) string
}

// Finding is one pod that is not as injection today would make it.
type Finding struct {
	Pod     types.NamespacedName
	UID     types.UID
	Created time.Time // when the pod was
	// Workload is what the user would restart.
	Workload params.Workload
	Reason   Reason
	// Revision is the one that would inject now, Webhook its entry, and Why the injector's
	// reason for it.
	Revision, Webhook string
	Why               policy.Reason
	// Image and Want are the proxy's image and the one that injection would give; empty
	// unless the proxy is outdated.
	Image, Want string
}

// Check judges each pod and returns the findings, by namespace and name. The pods are not
// modified; of each, metadata, spec.hostNetwork, the phase, and of the containers named
// istio-proxy the image are read.
func Check(c Cluster, pods []*corev1.Pod) []Finding {
	var out []Finding
	for _, pod := range pods {
		if f, bad := c.Look(pod); bad {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.Pod.Namespace, b.Pod.Namespace), strings.Compare(a.Pod.Name, b.Pod.Name))
	})
	return out
}

// Look judges one pod; false for nothing to say. Pods that have ended or are about to are
// never judged.
func (c Cluster) Look(pod *corev1.Pod) (Finding, bool) {
	if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return Finding{}, false
	}
	decision, hook := policy.Settle(policy.Question{
		Pod: pod, Namespace: policy.Namespace{Name: pod.Namespace, Labels: c.Labels(pod.Namespace)},
		Webhooks: c.Webhooks, RulesOf: c.rulesOf,
	})
	if !decision.Inject {
		return Finding{}, false
	}
	f := Finding{
		Pod: types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}, UID: pod.UID, Created: pod.CreationTimestamp.Time,
		Revision: hook.Revision, Webhook: hook.String(), Why: decision.Reason,
	}
	if f.judge(c, pod, hook) {
		f.Workload = params.Owner(pod)
		return f, true
	}
	return Finding{}, false
}

// judge compares a pod that should be injected with what it is.
func (f *Finding) judge(c Cluster, pod *corev1.Pod, hook *policy.Webhook) bool {
	status, injected := pod.Annotations[meta.Status]
	proxy := proxyOf(pod)
	switch {
	case injected && proxy == nil:
		// A template without a proxy, as for gRPC, does not list one.
		f.Reason = ProxyRemoved
		return strings.Contains(status, `"`+meta.ProxyContainer+`"`)
	case injected:
		return f.outdated(c, pod, proxy)
	case pod.CreationTimestamp.Time.Before(hook.Created):
		f.Reason = CreatedBeforeWebhook
	default:
		f.Reason = MissedAtCreation
	}
	return true
}

// outdated compares the images. A pod that brings its own proxy image keeps it.
func (f *Finding) outdated(c Cluster, pod *corev1.Pod, proxy *corev1.Container) bool {
	revision, known := c.Revision(f.Revision)
	if !known || revision.Image == nil {
		return false
	}
	f.Reason, f.Image, f.Want = OutdatedProxy, proxy.Image, revision.Image(pod)
	return f.Want != "" && f.Image != f.Want && !ownImage(pod)
}

// ownImage reports whether the user's own version of the proxy, which injection keeps in an
// annotation, names an image. One that cannot be read may.
func ownImage(pod *corev1.Pod) bool {
	text := pod.Annotations[meta.Overrides]
	if text == "" {
		return false
	}
	type container struct{ Name, Image string }
	var own struct{ Containers, InitContainers []container }
	if err := json.Unmarshal([]byte(text), &own); err != nil {
		return true
	}
	return slices.ContainsFunc(append(own.Containers, own.InitContainers...), func(c container) bool {
		return c.Name == meta.ProxyContainer && c.Image != "" && c.Image != "auto"
	})
}

func (c Cluster) rulesOf(name string) (policy.Rules, bool) {
	r, known := c.Revision(name)
	return r.Rules, known
}

// proxyOf returns the pod's proxy, native or not; nil for none.
func proxyOf(pod *corev1.Pod) *corev1.Container {
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == meta.ProxyContainer {
				return &list[i]
			}
		}
	}
	return nil
}

// Found says what is wrong with the pod.
func (f Finding) Found() string {
	switch f.Reason {
	case CreatedBeforeWebhook:
		return "has no proxy: it is older than the webhook configuration"
	case ProxyRemoved:
		return "was injected, but its container " + meta.ProxyContainer + " is gone: another webhook or controller removed it"
	case OutdatedProxy:
		return "runs proxy image " + f.Image + ", injection now gives " + f.Want
	}
	return "has no proxy: it was created while the injector was away, or before its namespace's labels or the injector's settings asked for one"
}

// Remedy says what to do about it.
func (f Finding) Remedy() string {
	w := f.Workload
	switch w.Kind {
	case "Deployment", "StatefulSet", "DaemonSet":
		return "kubectl -n " + f.Pod.Namespace + " rollout restart " + strings.ToLower(w.Kind) + "/" + w.Name
	case "Pod":
		return "delete the pod and create it again"
	case "Job":
		return "delete Job " + w.Name + " and create it again"
	case "CronJob":
		return "delete the pod's Job; the next one of CronJob " + w.Name + " is injected"
	}
	return "delete the pod; " + w.Kind + " " + w.Name + " makes a new one"
}

// TrimPod is a cache transform that keeps of a pod what Check reads, for a cache that
// nobody else reads pods from.
func TrimPod(o any) (any, error) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return o, nil
	}
	out := &corev1.Pod{TypeMeta: pod.TypeMeta, ObjectMeta: pod.ObjectMeta}
	out.ManagedFields = nil
	out.Spec.HostNetwork = pod.Spec.HostNetwork
	if proxy := proxyOf(pod); proxy != nil {
		out.Spec.Containers = []corev1.Container{{Name: proxy.Name, Image: proxy.Image}}
	}
	out.Status.Phase = pod.Status.Phase
	return out, nil
}
