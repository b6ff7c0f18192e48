package webhook

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluicemesh/sluice/manifests"
	"github.com/sluicemesh/sluice/webhook/policy"
)

// TestGates compares what the API server sends to the injector, by the webhook configurations
// that the chart installs, with the table of the specification: all labels of namespaces and
// pods, for the default revision, the revision r1 and the tag prod of the default revision;
// and what policy explains with the same table.
func TestGates(t *testing.T) {
	config := startAPIServer(t)
	config.QPS = -1 // thousands of pods
	c := newClient(t, config)
	r := newRecorder(t)
	for name, labels := range gateNamespaces() {
		create(t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}})
	}
	system := &corev1.Namespace{}
	for _, name := range []string{"kube-system", "kube-public"} {
		if err := c.Get(t.Context(), client.ObjectKey{Name: name}, system); err != nil {
			t.Fatal(err)
		}
		system.Labels["istio-injection"] = "enabled"
		if err := c.Update(t.Context(), system); err != nil {
			t.Fatal(err)
		}
	}
	create(t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "istio-system", Labels: map[string]string{"istio-injection": "enabled"}}})

	r1 := r.install(t, c, chart(t, map[string]any{"revision": "r1"}), "r1")
	defaults := r.install(t, c, chart(t, map[string]any{"revisionTags": []any{"prod"}}), "default")
	waitFor(t, "the configuration of r1", func() bool { return r.ask(t, c, gatePod("none-r1", "", "", "")) == "R" })
	waitFor(t, "the tag", func() bool { return r.ask(t, c, gatePod("none-prod", "", "", "")) == "P" })
	t.Run("default", func(t *testing.T) { r.testGates(t, c, gateTable, true) })
	t.Run("own and system namespaces", func(t *testing.T) {
		for _, tc := range []struct{ namespace, inject, want string }{
			{"istio-system", "", "."}, {"istio-system", "true", "N"}, {"istio-system", "yes", "."}, {"kube-system", "true", "."}, {"kube-public", "", "."},
		} {
			pod := gatePod(tc.namespace, "", tc.inject, "")
			told := r.explain(pod, map[string]string{"istio-injection": "enabled"})
			if got := r.ask(t, c, pod); got != tc.want || told != tc.want {
				t.Errorf("namespace %s, inject=%s: %s called, and Settle says %s; want %s", tc.namespace, tc.inject, got, told, tc.want)
			}
		}
	})

	remove(t, c, defaults)
	byDefault := r.install(t, c, chart(t, map[string]any{
		"revisionTags":           []any{"prod"},
		"sidecarInjectorWebhook": map[string]any{"enableNamespacesByDefault": true},
	}), "default")
	waitFor(t, "injection by default", func() bool { return r.ask(t, c, gatePod("none-none", "", "", "")) == "A" })
	auto := maps.Clone(gateTable)
	auto["none-none"] = "A" + auto["none-none"][1:]
	t.Run("by default", func(t *testing.T) { r.testGates(t, c, auto, false) })

	// The tag "default" gives another revision what only the default one has.
	remove(t, c, byDefault, r1)
	r.webhooks = nil
	r.install(t, c, chart(t, map[string]any{"revision": "r1", "revisionTags": []any{"default", "prod"}}), "r1")
	waitFor(t, "the tag default", func() bool { return r.ask(t, c, gatePod("enabled-none", "", "", "")) == "N" })
	waitFor(t, "the tag prod", func() bool { return r.ask(t, c, gatePod("none-prod", "", "", "")) == "P" })
	waitFor(t, "the revision", func() bool { return r.ask(t, c, gatePod("none-r1", "", "", "")) == "R" })
	t.Run("tag default", func(t *testing.T) { r.testGates(t, c, gateTable, false) })
}

// gateTable says who is called, by the namespace's labels istio-injection and istio.io/rev
// (in the key) and the pod's labels: five groups for istio.io/rev absent, default, r1, prod,
// other; in each sidecar.istio.io/inject absent, true, false, yes, empty.
//
// N, O, A are the entries namespace., object. and auto. of the default revision; D, R, P the
// entry rev.namespace. of default, r1 and prod; d, r, p their entry rev.object.; a dot is nobody.
var gateTable = map[string]string{
	"none-none":    ".O... dd.dd rr.rr pp.pp .....",
	"none-default": "DD.DD DD.DD DD.DD DD.DD DD.DD",
	"none-r1":      "RR.RR RR.RR RR.RR RR.RR RR.RR",
	"none-prod":    "PP.PP PP.PP PP.PP PP.PP PP.PP",
	"none-other":   "..... ..... ..... ..... .....",

	"enabled-none":    "NN.NN NN.NN NN.NN NN.NN NN.NN",
	"enabled-default": "NN.NN NN.NN NN.NN NN.NN NN.NN",
	"enabled-r1":      "NN.NN NN.NN NN.NN NN.NN NN.NN",
	"enabled-prod":    "NN.NN NN.NN NN.NN NN.NN NN.NN",
	"enabled-other":   "NN.NN NN.NN NN.NN NN.NN NN.NN",

	"disabled-none":    "..... ..... ..... ..... .....",
	"disabled-default": "..... ..... ..... ..... .....",
	"disabled-r1":      "..... ..... ..... ..... .....",
	"disabled-prod":    "..... ..... ..... ..... .....",
	"disabled-other":   "..... ..... ..... ..... .....",

	"yes-none":    "..... ..... ..... ..... .....",
	"yes-default": "..... ..... ..... ..... .....",
	"yes-r1":      "..... ..... ..... ..... .....",
	"yes-prod":    "..... ..... ..... ..... .....",
	"yes-other":   "..... ..... ..... ..... .....",
}

// gateNamespaces are the rows of gateTable with their labels.
func gateNamespaces() map[string]map[string]string {
	out := map[string]map[string]string{}
	for name := range gateTable {
		injection, revision, _ := strings.Cut(name, "-")
		out[name] = map[string]string{}
		if injection != "none" {
			out[name]["istio-injection"] = injection
		}
		if revision != "none" {
			out[name]["istio.io/rev"] = revision
		}
	}
	return out
}

// gatePod is a pod with labels; "" leaves one out, "empty" makes it empty.
func gatePod(namespace, revision, inject, annotation string) *corev1.Pod {
	pod := plainPod(namespace, map[string]string{})
	set := func(m map[string]string, key, value string) {
		switch value {
		case "":
		case "empty":
			m[key] = ""
		default:
			m[key] = value
		}
	}
	pod.Annotations = map[string]string{}
	set(pod.Labels, "istio.io/rev", revision)
	set(pod.Labels, "sidecar.istio.io/inject", inject)
	set(pod.Annotations, "sidecar.istio.io/inject", annotation)
	return pod
}

// testGates creates a pod for each cell of the table; with all, each again with the
// annotation and with the host's network.
func (r *recorder) testGates(t *testing.T, c client.Client, table map[string]string, all bool) {
	annotations, hosts := []string{""}, []bool{false}
	if all {
		annotations, hosts = []string{"", "true", "false"}, []bool{false, true}
	}
	group := errgroup.Group{}
	group.SetLimit(8)
	for _, namespace := range slices.Sorted(maps.Keys(table)) {
		cells := strings.ReplaceAll(table[namespace], " ", "")
		for i, revision := range []string{"", "default", "r1", "prod", "other"} {
			for j, inject := range []string{"", "true", "false", "yes", "empty"} {
				want := cells[5*i+j : 5*i+j+1]
				group.Go(func() error {
					for _, annotation := range annotations {
						for _, host := range hosts {
							want := want
							if host || annotation == "false" && inject == "" {
								want = "."
							}
							pod := gatePod(namespace, revision, inject, annotation)
							pod.Spec.HostNetwork = host
							if told := r.explain(pod, gateNamespaces()[namespace]); told != want {
								t.Errorf("namespace %s, pod labels rev=%q inject=%q, annotation %q, hostNetwork %t: Settle says %s; want %s",
									namespace, revision, inject, annotation, host, told, want)
							}
							if got := r.ask(t, c, pod); got != want {
								t.Errorf("namespace %s, pod labels rev=%q inject=%q, annotation %q, hostNetwork %t: %s called; want %s",
									namespace, revision, inject, annotation, host, got, want)
							}
						}
					}
					return nil
				})
			}
		}
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

// recorder is a webhook that remembers which entries called it for which pod.
type recorder struct {
	server *httptest.Server
	mu     sync.Mutex
	calls  map[string]string // by pod: the letters of the entries
	serial int

	webhooks []policy.Webhook  // those installed last, as policy reads them
	letters  map[string]string // of webhooks, by String
}

// explain is what policy says of the API server's gate, in ask's letters.
func (r *recorder) explain(pod *corev1.Pod, namespace map[string]string) string {
	_, calls := policy.Settle(policy.Question{
		Pod: pod, Namespace: policy.Namespace{Name: pod.Namespace, Labels: namespace}, Webhooks: r.webhooks,
		RulesOf: func(string) (policy.Rules, bool) { return policy.Rules{Policy: policy.Enabled}, true },
	})
	if calls == nil {
		return "."
	}
	return r.letters[calls.String()]
}

func newRecorder(t *testing.T) *recorder {
	r := &recorder{calls: map[string]string{}, letters: map[string]string{}}
	r.server = httptest.NewTLSServer(r)
	t.Cleanup(r.server.Close)
	return r
}

// ServeHTTP lets the pod pass; the last element of the path is the entry's letter.
func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	var review admissionv1.AdmissionReview
	if err == nil {
		err = json.Unmarshal(body, &review)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	r.calls[review.Request.Name] += req.URL.Path[strings.LastIndexByte(req.URL.Path, '/')+1:]
	r.mu.Unlock()
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review)
}

// ask creates a pod without keeping it and returns the letters of the entries that called;
// a dot for none.
func (r *recorder) ask(t *testing.T, c client.Client, pod *corev1.Pod) string {
	r.mu.Lock()
	r.serial++
	pod.Name = fmt.Sprintf("web-%d", r.serial)
	r.mu.Unlock()
	pod.GenerateName = ""
	if err := c.Create(t.Context(), pod, client.DryRunAll); err != nil {
		return err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if called := r.calls[pod.Name]; called != "" {
		return called
	}
	return "."
}

// install creates the webhook configurations of a rendered chart with this server behind
// them, each entry at a path of its own.
func (r *recorder) install(t *testing.T, c client.Client, objects []client.Object, revision string) []client.Object {
	t.Helper()
	letters := map[string]string{"namespace.": "N", "object.": "O", "auto.": "A"}
	byName := map[string][2]string{"default": {"D", "d"}, "r1": {"R", "r"}, "prod": {"P", "p"}}
	var made []client.Object
	var configs []admissionregv1.MutatingWebhookConfiguration
	for _, o := range objects {
		config, ok := o.(*admissionregv1.MutatingWebhookConfiguration)
		if !ok {
			continue
		}
		name := revision
		if tag := config.Labels["istio.io/tag"]; tag != "" {
			name = tag
		}
		letters["rev.namespace."], letters["rev.object."] = byName[name][0], byName[name][1]
		configs = append(configs, *config.DeepCopy())
		for i := range config.Webhooks {
			entry := &config.Webhooks[i]
			letter := letters[strings.TrimSuffix(entry.Name, "sidecar-injector.istio.io")]
			if letter == "" {
				t.Fatalf("%s has an entry %s that the test does not know", config.Name, entry.Name)
			}
			r.letters[config.Name+"/"+entry.Name] = letter
			url := r.server.URL + "/" + letter
			entry.ClientConfig = admissionregv1.WebhookClientConfig{
				URL: &url, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw}),
			}
		}
		create(t, c, config)
		made = append(made, config)
	}
	webhooks, problems := policy.Webhooks(configs)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	r.webhooks = append(slices.DeleteFunc(r.webhooks, func(w policy.Webhook) bool { return w.Revision == revision }), webhooks...)
	return made
}

func remove(t *testing.T, c client.Client, lists ...[]client.Object) {
	t.Helper()
	for _, o := range slices.Concat(lists...) {
		if err := c.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

func newClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// chart renders what of the chart istiod the API server acts on: webhook configurations,
// policies and the injector's ConfigMap.
func chart(t *testing.T, values map[string]any) []client.Object {
	t.Helper()
	objects, err := manifests.Render(manifests.Release{Chart: manifests.Istiod, Name: "istiod", Namespace: "istio-system", Values: values})
	if err != nil {
		t.Fatal(err)
	}
	var out []client.Object
	for _, o := range objects {
		var typed client.Object
		switch o.GetKind() {
		case "MutatingWebhookConfiguration":
			typed = &admissionregv1.MutatingWebhookConfiguration{}
		case "ValidatingAdmissionPolicy":
			typed = &admissionregv1.ValidatingAdmissionPolicy{}
		case "ValidatingAdmissionPolicyBinding":
			typed = &admissionregv1.ValidatingAdmissionPolicyBinding{}
		case "ConfigMap":
			typed = &corev1.ConfigMap{}
		default:
			continue
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, typed, true); err != nil {
			t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
		out = append(out, typed)
	}
	return out
}
