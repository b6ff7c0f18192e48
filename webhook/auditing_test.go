package webhook

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluicemesh/sluice/webhook/audit"
	"github.com/sluicemesh/sluice/webhook/policy"
)

// auditing is a cluster whose one webhook takes every pod, under the settings.
func auditing(s *Settings) audit.Cluster {
	st := &state{}
	st.swap(s)
	everything := policy.Webhook{
		Name: "all." + policy.WebhookSuffix, Revision: "default", FailurePolicy: admissionv1.Fail,
		NamespaceSelector: labels.Everything(), ObjectSelector: labels.Everything(),
	}
	return audit.Cluster{
		Labels: func(string) map[string]string { return nil }, Webhooks: []policy.Webhook{everything}, Revision: st.revision("default"),
	}
}

// TestAuditAgreesWithInjection: of a pod that was just injected the auditor says nothing,
// and after a change of settings that its proxy is outdated exactly when injecting it again
// would change the proxy's image.
func TestAuditAgreesWithInjection(t *testing.T) {
	before := settingsOf(t, testCase{})
	after := settingsOf(t, testCase{Values: json.RawMessage(`{"global":{"hub":"example.com/new","tag":"2.0.0"}}`)})
	outdated, kept := 0, 0
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 3))
		request := Request{Pod: randomPod(r), Native: r.IntN(2) == 0}
		request.Pod.Namespace = "shop"
		pod := Inject(before, request).Pod
		if pod == nil {
			continue
		}
		trimmed, err := audit.TrimPod(pod)
		if err != nil {
			t.Fatal(err)
		}
		if f, bad := auditing(before).Look(trimmed.(*corev1.Pod)); bad {
			t.Fatalf("seed %d: just injected, yet %s", seed, f.Found())
		}
		request.Pod = pod
		again := Inject(after, request).Pod
		if again == nil {
			continue
		}
		want := proxyImageOf(again) != proxyImageOf(pod)
		f, got := auditing(after).Look(trimmed.(*corev1.Pod))
		if got != want || got && (f.Reason != audit.OutdatedProxy || f.Want != proxyImageOf(again)) {
			t.Fatalf("seed %d: outdated = %v (%s); want %v: the proxy is %s, and injected again %s\n%s",
				seed, got, f.Found(), want, proxyImageOf(pod), proxyImageOf(again), marshal(t, pod))
		}
		if want {
			outdated++
		} else {
			kept++
		}
	}
	if outdated < 500 || kept < 50 {
		t.Errorf("%d outdated, %d kept: the generator is lopsided", outdated, kept)
	}
}

func proxyImageOf(pod *corev1.Pod) string {
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == "istio-proxy" {
				return list[i].Image
			}
		}
	}
	return ""
}

func TestProxyImageOfTemplates(t *testing.T) {
	settings := settingsOf(t, testCase{Config: map[string]any{"templates": map[string]any{"mine": "metadata: {labels: {a: b}}"}}})
	const own = "ghcr.io/sluicemesh/proxyv2:1.0.0"
	if got := ProxyImage(settings, &corev1.Pod{}); got != own {
		t.Errorf("ProxyImage without templates = %q; want %q", got, own)
	}
	for templates, want := range map[string]string{
		"sidecar": own, "gateway": own,
		"sidecar,mine": "", // may name another image
		"nobody's":     "", // would be refused
	} {
		pod := &corev1.Pod{}
		pod.Annotations = map[string]string{"inject.istio.io/templates": templates}
		if got := ProxyImage(settings, pod); got != want {
			t.Errorf("ProxyImage with templates %q = %q; want %q", templates, got, want)
		}
	}
	bad := &corev1.Pod{}
	bad.Annotations = map[string]string{"proxy.istio.io/config": "concurrency: many"}
	if got := ProxyImage(settings, bad); got != "" {
		t.Errorf("ProxyImage of a pod that would be refused = %q; want none", got)
	}
}
