package audit

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluicemesh/sluice/webhook/params"
	"github.com/sluicemesh/sluice/webhook/policy"
)

const (
	statusKey   = "sidecar.istio.io/status"
	someStatus  = `{"initContainers":["istio-init","istio-proxy"],"containers":null}`
	proxyless   = `{"initContainers":["grpc-bootstrap-init"],"containers":null}`
	imageNow    = "example.com/proxyv2:2.0"
	imageBefore = "example.com/proxyv2:1.0"
)

// installed is when the webhook configuration of the tests was created.
var installed = time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)

func config() admissionv1.MutatingWebhookConfiguration {
	return admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{
			Name: "istio-sidecar-injector", Labels: map[string]string{"istio.io/rev": "default"}, CreationTimestamp: metav1.NewTime(installed),
		},
		Webhooks: []admissionv1.MutatingWebhook{{
			Name:              "namespace.sidecar-injector.istio.io",
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"istio-injection": "enabled"}},
			ObjectSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
				{Key: "sidecar.istio.io/inject", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"false"}},
			}},
		}},
	}
}

func revision(name string) (Revision, bool) {
	return Revision{
		Rules: policy.Rules{Policy: policy.Enabled},
		Image: func(*corev1.Pod) string { return imageNow },
	}, name == "default"
}

func cluster(t *testing.T) Cluster {
	t.Helper()
	hooks, problems := policy.Webhooks([]admissionv1.MutatingWebhookConfiguration{config()})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return Cluster{
		Labels: func(namespace string) map[string]string {
			return map[string]map[string]string{"shop": {"istio-injection": "enabled"}}[namespace]
		},
		Webhooks: hooks, Revision: revision,
	}
}

// bare is a pod without a proxy, younger than the webhook.
func bare(name string, edits ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, UID: types.UID("uid-" + name), Labels: map[string]string{}, Annotations: map[string]string{},
			CreationTimestamp: metav1.NewTime(installed.Add(time.Hour)),
		},
		Spec:   corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, edit := range edits {
		edit(pod)
	}
	return pod
}

func withProxy(image string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Annotations[statusKey] = someStatus
		p.Spec.InitContainers = []corev1.Container{{Name: "istio-proxy", Image: image}}
	}
}

func classic(image string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Annotations[statusKey] = someStatus
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "istio-proxy", Image: image})
	}
}

func annotated(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations[key] = value }
}

func ownedBy(kind, name string, labels map[string]string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		controller := true
		p.GenerateName = name + "-"
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: name, Controller: &controller}}
		for k, v := range labels {
			p.Labels[k] = v
		}
	}
}

func TestLook(t *testing.T) {
	old := func(p *corev1.Pod) { p.CreationTimestamp = metav1.NewTime(installed.Add(-time.Hour)) }
	phase := func(phase corev1.PodPhase) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Status.Phase = phase } }
	tests := []struct {
		name string
		pod  *corev1.Pod
		want Reason
	}{
		{"injected", bare("a", withProxy(imageNow)), ""},
		{"injected, classic", bare("a", classic(imageNow)), ""},
		{"missed", bare("a"), MissedAtCreation},
		{"missed, pending", bare("a", phase(corev1.PodPending)), MissedAtCreation},
		{"older than the webhook", bare("a", old), CreatedBeforeWebhook},
		{"succeeded", bare("a", phase(corev1.PodSucceeded)), ""},
		{"failed", bare("a", phase(corev1.PodFailed)), ""},
		{"terminating", bare("a", func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: installed} }), ""},
		{"another namespace", bare("a", func(p *corev1.Pod) { p.Namespace = "plain" }), ""},
		{"opted out", bare("a", func(p *corev1.Pod) { p.Labels["sidecar.istio.io/inject"] = "false" }), ""},
		{"host network", bare("a", func(p *corev1.Pod) { p.Spec.HostNetwork = true }), ""},
		{"proxy without status", bare("a", withProxy(imageNow), func(p *corev1.Pod) { delete(p.Annotations, statusKey) }), MissedAtCreation},
		{"proxy removed", bare("a", annotated(statusKey, someStatus)), ProxyRemoved},
		{"template without proxy", bare("a", annotated(statusKey, proxyless)), ""},
		{"outdated", bare("a", withProxy(imageBefore)), OutdatedProxy},
		{"outdated, classic", bare("a", classic(imageBefore)), OutdatedProxy},
		{
			"own image", bare("a", withProxy("own"), annotated("proxy.istio.io/overrides", `{"containers":[{"name":"istio-proxy","image":"own"}]}`)), "",
		},
		{
			"own proxy, image auto",
			bare("a", withProxy(imageBefore), annotated("proxy.istio.io/overrides", `{"initContainers":[{"name":"istio-proxy","image":"auto"}]}`)),
			OutdatedProxy,
		},
		{"unreadable overrides", bare("a", withProxy("own"), annotated("proxy.istio.io/overrides", `{`)), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, bad := cluster(t).Look(tt.pod)
			if bad != (tt.want != "") || bad && f.Reason != tt.want {
				t.Errorf("Look = %q, %v; want %q", f.Reason, bad, tt.want)
			}
		})
	}
}

func TestLookDoesNotJudgeWhatItDoesNotKnow(t *testing.T) {
	c := cluster(t)
	c.Revision = func(string) (Revision, bool) { return Revision{}, false }
	if f, bad := c.Look(bare("a")); bad {
		t.Errorf("settings not known, yet %+v", f)
	}
	c.Revision = func(string) (Revision, bool) {
		return Revision{Rules: policy.Rules{Policy: policy.Enabled}, Image: func(*corev1.Pod) string { return "" }}, true
	}
	if f, bad := c.Look(bare("a", withProxy(imageBefore))); bad {
		t.Errorf("image not known, yet %+v", f)
	}
}

func TestCheckSortsAndDescribes(t *testing.T) {
	pods := []*corev1.Pod{
		bare("web-7d-x", ownedBy("ReplicaSet", "web-7d", map[string]string{"pod-template-hash": "7d"})),
		bare("ok", withProxy(imageNow)),
		bare("db-0", ownedBy("StatefulSet", "db", nil), withProxy(imageBefore)),
	}
	want := []Finding{
		{
			Pod: types.NamespacedName{Namespace: "shop", Name: "db-0"}, UID: "uid-db-0", Created: installed.Add(time.Hour),
			Workload: params.Workload{Namespace: "shop", Name: "db", Kind: "StatefulSet", APIVersion: "apps/v1"},
			Reason:   "OutdatedProxy", Revision: "default", Webhook: "istio-sidecar-injector/namespace.sidecar-injector.istio.io",
			Why: "PolicyEnabled", Image: imageBefore, Want: imageNow,
		},
		{
			Pod: types.NamespacedName{Namespace: "shop", Name: "web-7d-x"}, UID: "uid-web-7d-x", Created: installed.Add(time.Hour),
			Workload: params.Workload{Namespace: "shop", Name: "web", Kind: "Deployment", APIVersion: "apps/v1"},
			Reason:   "MissedAtCreation", Revision: "default", Webhook: "istio-sidecar-injector/namespace.sidecar-injector.istio.io",
			Why: "PolicyEnabled",
		},
	}
	if diff := cmp.Diff(want, Check(cluster(t), pods)); diff != "" {
		t.Errorf("Check differs (-want +got):\n%s", diff)
	}
}

func TestRemedies(t *testing.T) {
	deployment := ownedBy("ReplicaSet", "web-7d", map[string]string{"pod-template-hash": "7d"})
	tests := []struct {
		name  string
		edits []func(*corev1.Pod)
		want  string
	}{
		{"Deployment", []func(*corev1.Pod){deployment}, "kubectl -n shop rollout restart deployment/web"},
		{"StatefulSet", []func(*corev1.Pod){ownedBy("StatefulSet", "db", nil)}, "kubectl -n shop rollout restart statefulset/db"},
		{"DaemonSet", []func(*corev1.Pod){ownedBy("DaemonSet", "log", nil)}, "kubectl -n shop rollout restart daemonset/log"},
		{"Job", []func(*corev1.Pod){ownedBy("Job", "once", nil)}, "delete Job once and create it again"},
		{"CronJob", []func(*corev1.Pod){ownedBy("Job", "nightly-29012345", nil)}, "delete the pod's Job; the next one of CronJob nightly is injected"},
		{"ReplicaSet alone", []func(*corev1.Pod){ownedBy("ReplicaSet", "rs", nil)}, "delete the pod; ReplicaSet rs makes a new one"},
		{"bare", nil, "delete the pod and create it again"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, bad := cluster(t).Look(bare("a", tt.edits...))
			if !bad || f.Remedy() != tt.want {
				t.Errorf("Remedy = %q; want %q", f.Remedy(), tt.want)
			}
		})
	}
}

func TestTrimPodKeepsWhatCheckReads(t *testing.T) {
	for _, pod := range []*corev1.Pod{
		bare("a"), bare("b", withProxy(imageBefore)), bare("c", classic(imageNow)), bare("d", annotated(statusKey, someStatus)),
		bare("e", func(p *corev1.Pod) { p.Spec.HostNetwork = true }), bare("f", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }),
	} {
		want := Check(cluster(t), []*corev1.Pod{pod})
		trimmed, err := TrimPod(pod)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, Check(cluster(t), []*corev1.Pod{trimmed.(*corev1.Pod)})); diff != "" {
			t.Errorf("%s: trimming changes the finding:\n%s", pod.Name, diff)
		}
		if slices.ContainsFunc(trimmed.(*corev1.Pod).Spec.Containers, func(c corev1.Container) bool { return c.Name == "app" }) {
			t.Errorf("%s: the application's container is kept", pod.Name)
		}
	}
}

func BenchmarkLook(b *testing.B) {
	hooks, _ := policy.Webhooks([]admissionv1.MutatingWebhookConfiguration{config()})
	labels := map[string]string{"istio-injection": "enabled", "kubernetes.io/metadata.name": "shop"}
	c := Cluster{Labels: func(string) map[string]string { return labels }, Webhooks: hooks, Revision: revision}
	for name, pod := range map[string]*corev1.Pod{"injected": bare("a", withProxy(imageNow)), "missed": bare("a")} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.Look(pod)
			}
		})
	}
}
