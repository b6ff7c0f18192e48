package explain

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluicemesh/sluice/cli/source"
	"github.com/sluicemesh/sluice/cli/target"
)

// TestVerdictIsTheWebhooks: over the label space, the verdict is yes where the selectors of
// the rendered webhooks let the API server ask, judged by Kubernetes' own code, and the
// injector that the webhook runs returns a pod.
func TestVerdictIsTheWebhooks(t *testing.T) {
	for _, revision := range []string{"", "blue"} {
		for _, byDefault := range []string{"false", "true"} {
			t.Run(revision+"/"+byDefault, func(t *testing.T) {
				s := open(t, source.Options{
					Offline: true, Revision: revision,
					Sets: []string{"sidecarInjectorWebhook.enableNamespacesByDefault=" + byDefault},
				})
				i, err := s.Injector(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				injected := 0
				for _, ns := range labelSpace("istio-injection", "istio.io/rev") {
					w, err := newWorld(t.Context(), s)
					if err != nil {
						t.Fatal(err)
					}
					w.given["shop"] = ns
					for _, pod := range labelSpace("sidecar.istio.io/inject", "istio.io/rev") {
						if agree(t, w, i, pod) {
							injected++
						}
					}
				}
				if injected == 0 {
					t.Error("nothing was injected: the test compares nothing")
				}
			})
		}
	}
}

func open(t *testing.T, o source.Options) *source.Source {
	t.Helper()
	s, err := source.Open(t.Context(), &target.Target{Version: "9.9.9", IstioNamespace: "istio-system"}, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// labelSpace is every choice of values for two keys, absent included.
func labelSpace(first, second string) []map[string]string {
	values := []string{"-", "", "enabled", "disabled", "true", "false", "default", "blue"}
	var out []map[string]string
	for _, a := range values {
		for _, b := range values {
			set := map[string]string{}
			for key, v := range map[string]string{first: a, second: b} {
				if v != "-" {
					set[key] = v
				}
			}
			out = append(out, set)
		}
	}
	return out
}

// agree compares the two answers for one pod in the namespace shop and returns them.
func agree(t *testing.T, w *world, i *source.Injector, podLabels map[string]string) bool {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Labels: podLabels}}
	pod.Spec.Containers = []corev1.Container{{Name: "web"}}
	v, err := w.explain(t.Context(), subject{title: "Pod web", namespace: "shop", pod: pod})
	if err != nil {
		t.Fatal(err)
	}
	ns := w.given["shop"]
	out, err := i.Inject(t.Context(), pod, "shop")
	if err != nil {
		t.Fatal(err)
	}
	want := asked(t, w.source, ns, podLabels) && out.Pod != nil
	if v.Injected != want {
		t.Errorf("namespace %v, pod %v: verdict %v [%s]; the webhook: %v", ns, podLabels, v.Injected, v.Reason, want)
	}
	if last := v.Steps[len(v.Steps)-1]; !v.Injected && !decides(v) {
		t.Errorf("namespace %v, pod %v: no step decides against, the last is %+v", ns, podLabels, last)
	}
	return want
}

// decides reports whether a step of the verdict refuses, for the verdict's reason, and says
// what to change.
func decides(v verdict) bool {
	for _, s := range v.Steps {
		if s.Outcome == "refuses" && string(s.Reason) == v.Reason && s.Remedy != "" {
			return true
		}
	}
	return false
}

// asked evaluates the selectors as the API server does. The conditions all hold in the
// namespace shop, but for a pod that refuses, which the injector would leave alone as well.
func asked(t *testing.T, s *source.Source, ns, pod map[string]string) bool {
	t.Helper()
	configs, err := s.Configurations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	namespace := map[string]string{corev1.LabelMetadataName: "shop"}
	for k, v := range ns {
		namespace[k] = v
	}
	matches := func(selector *metav1.LabelSelector, set map[string]string) bool {
		parsed, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			t.Fatal(err)
		}
		return parsed.Matches(labels.Set(set))
	}
	for _, c := range configs {
		for _, w := range c.Webhooks {
			if strings.HasSuffix(w.Name, "sidecar-injector.istio.io") && matches(w.NamespaceSelector, namespace) && matches(w.ObjectSelector, pod) {
				return true
			}
		}
	}
	return false
}
