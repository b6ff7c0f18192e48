package webhook

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gomodules.xyz/jsonpatch/v2"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// testReinvocation lets a real API server call another webhook before the injector and
// after it, both once more when the other changed the pod: the pod is the same.
func testReinvocation(t *testing.T, c client.Client, authority *selfSigned, injector string) {
	other := startOther(t, authority)
	again := admissionregv1.IfNeededReinvocationPolicy
	hook := func(name, order, url string) *admissionregv1.MutatingWebhookConfiguration {
		w := entry(injector, "unused", name, nil, nil)
		w.Name, w.ClientConfig.URL, w.ClientConfig.CABundle = name+".example.com", &url, authority.Roots()
		w.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"reinvocation": "yes"}}
		if order != "" {
			w.NamespaceSelector.MatchLabels["order"] = order
		}
		w.ReinvocationPolicy = &again
		return &admissionregv1.MutatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Webhooks: []admissionregv1.MutatingWebhook{w},
		}
	}
	// The API server calls configurations by name.
	create(t, c,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "other-first", Labels: map[string]string{"reinvocation": "yes", "order": "first"}}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "other-last", Labels: map[string]string{"reinvocation": "yes", "order": "last"}}},
		hook("a-other", "first", other), hook("m-injector", "", "https://"+injector+"/inject"), hook("z-other", "last", other))

	for name, native := range map[string]string{"native": "true", "classic": "false"} {
		t.Run(name, func(t *testing.T) {
			made := func(namespace string) *corev1.Pod {
				pod := plainPod(namespace, map[string]string{"app": "web"})
				pod.Name, pod.GenerateName = "web", ""
				pod.Annotations = map[string]string{"sidecar.istio.io/nativeSidecar": native}
				pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
					HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromInt32(8080)},
				}}
				if err := c.Create(t.Context(), pod, client.DryRunAll); err != nil {
					t.Fatal(err)
				}
				pod.ObjectMeta = metav1.ObjectMeta{Labels: pod.Labels, Annotations: pod.Annotations}
				forgetOverrides(pod)
				return pod
			}
			complete := func(p *corev1.Pod) bool {
				return p.Annotations["sidecar.istio.io/status"] != "" && p.Annotations["example.com/of-others"] != ""
			}
			var first, last *corev1.Pod
			waitFor(t, "both webhooks", func() bool {
				first, last = made("other-first"), made("other-last")
				return complete(first) && complete(last)
			})
			for i := range first.Spec.InitContainers {
				if owner := &first.Spec.InitContainers[i]; owner.Name == "istio-init" && envValueOf(owner, "OF_OTHERS") == "" {
					t.Error("the other webhook's variable is lost")
				}
			}
			want, got := marshal(t, withoutNamespace(last)), marshal(t, withoutNamespace(first))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the order of webhooks matters (-other last +other first):\n%s", diff)
			}
		})
	}
}

// withoutNamespace drops the owner reference in the environment, which names the namespace.
func withoutNamespace(pod *corev1.Pod) *corev1.Pod {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			for j := range list[i].Env {
				if list[i].Env[j].Name == "ISTIO_META_OWNER" {
					list[i].Env[j].Value = ""
				}
			}
		}
	}
	return pod
}

func envValueOf(c *corev1.Container, name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

// startOther serves otherWebhook as an admission webhook and returns its URL.
func startOther(t *testing.T, authority *selfSigned) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		var pod corev1.Pod
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := json.Unmarshal(review.Request.Object.Raw, &pod); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		steps, err := jsonpatch.CreatePatch([]byte(marshal(t, &pod)), []byte(marshal(t, otherWebhook(t, &pod))))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		kind := admissionv1.PatchTypeJSONPatch
		review.Response = &admissionv1.AdmissionResponse{
			UID: review.Request.UID, Allowed: true, PatchType: &kind, Patch: []byte(marshal(t, steps)),
		}
		review.Request = nil
		w.Header().Set("Content-Type", "application/json")
		if _, err := w.Write([]byte(marshal(t, review))); err != nil {
			t.Error(err)
		}
	}))
	host, _, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := authority.ServingCertificate(t.Context(), []string{host})
	if err != nil {
		t.Fatal(err)
	}
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}
