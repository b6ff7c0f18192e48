package cli

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionreview "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// TestInjection runs the verbs about injection on one API server with a control plane's
// objects; the steps build on each other.
func TestInjection(t *testing.T) {
	c := newCluster(t)
	steps := []struct {
		name string
		step func(*testing.T, *cluster)
	}{
		{"without a control plane", noControlPlane},
		{"settings of the cluster", clusterSettings},
		{"objects of the cluster", clusterObjects},
		{"native sidecars follow the nodes", followNodes},
		{"a workload of the cluster", liveWorkload},
		{"the cluster's webhook at a URL", webhookAtURL},
		{"the cluster's webhook behind the API server", webhookBehindAPIServer},
		{"explain-inject", explainLive},
		{"check-inject", checkLive},
		{"uninjected", uninjectedLive},
	}
	for _, s := range steps {
		if !t.Run(s.name, func(t *testing.T) { s.step(t, c) }) {
			t.Fatalf("step %q failed, the others build on it", s.name)
		}
	}
}

// outcome is what a run of the program showed.
type outcome struct {
	out, err string
	code     int
}

// run runs the program on the cluster; in is its standard input.
func (c *cluster) run(t *testing.T, in string, args ...string) outcome {
	t.Helper()
	var out, err bytes.Buffer
	code := Run(t.Context(), Config{In: strings.NewReader(in), Out: &out, Err: &err, Version: "9.9.9", Program: "sluice"},
		append([]string{"--kubeconfig", c.kubeconfig}, args...))
	return outcome{out.String(), err.String(), code}
}

// want fails unless the program ended with the code and printed the words.
func (o outcome) want(t *testing.T, code int, words ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d; want %d\n%s%s", o.code, code, o.out, o.err)
	}
	for _, w := range words {
		if !strings.Contains(o.out+o.err, w) {
			t.Errorf("output lacks %q:\n%s%s", w, o.out, o.err)
		}
	}
}

const webPod = `apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {containers: [{name: web, image: 'web:1'}]}
`

func noControlPlane(t *testing.T, c *cluster) {
	c.run(t, webPod, "kube-inject", "-f", "-").want(t, 0,
		"has no control plane in namespace istio-system\n", "settings: built in\n", "image: ghcr.io/sluicemesh/proxyv2:9.9.9")
	c.run(t, webPod, "kube-inject", "-f", "-", "-r", "blue").want(t, 1,
		"neither ConfigMap istio-blue nor istio-sidecar-injector-blue in namespace istio-system: name an installed revision")
	c.run(t, webPod, "explain-inject", "-f", "-").want(t, 2, "[NoWebhook]", "→ install the control plane: sluice install")
}

func clusterSettings(t *testing.T, c *cluster) {
	c.must(t, "install", "-y", "--set", "profile=minimal", "--set", "hub=example.com",
		"--set", "meshConfig.defaultConfig.concurrency=3", "--set", "values.global.proxy.autoInject=disabled")
	c.run(t, webPod, "kube-inject", "-f", "-").want(t, 0,
		", ConfigMap istio-system/istio and istio-system/istio-sidecar-injector\n",
		"image: example.com/proxyv2:9.9.9", `"concurrency":3`, "restartPolicy: Always")
	c.run(t, webPod, "kube-inject", "-f", "-", "--set", "global.proxy.logLevel=debug").want(t, 0,
		"image: example.com/proxyv2:9.9.9", `"concurrency":3`, "--proxyLogLevel=debug")
	c.run(t, webPod, "kube-inject", "-f", "-", "--offline").want(t, 0, "image: ghcr.io/sluicemesh/proxyv2:9.9.9")
	c.run(t, webPod, "kube-inject", "-f", "-", "--meshConfigMapName", "mine").want(t, 0, "ConfigMap istio-system/istio-sidecar-injector\n")
}

// clusterObjects: a ProxyConfig, and on OpenShift the annotations of a namespace, count.
func clusterObjects(t *testing.T, c *cluster) {
	c.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "range", Annotations: map[string]string{"openshift.io/sa.scc.uid-range": "1000620000/10000"},
	}})
	config := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"concurrency": int64(7)}}}
	config.SetAPIVersion("networking.istio.io/v1beta1")
	config.SetKind("ProxyConfig")
	config.SetNamespace("range")
	config.SetName("all")
	c.create(t, config)
	c.run(t, webPod, "kube-inject", "-f", "-", "-n", "range").want(t, 0, `"concurrency":7`, "runAsUser: 1337")
	c.run(t, webPod, "kube-inject", "-f", "-", "-n", "range", "--set", "global.platform=openshift").want(t, 0, "runAsUser: 1000629999")
}

func followNodes(t *testing.T, c *cluster) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "old"}}
	c.create(t, node)
	node.Status.NodeInfo.KubeletVersion = "v1.30.1"
	if err := c.Status().Update(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	if out := c.run(t, webPod, "kube-inject", "-f", "-"); strings.Contains(out.out, "restartPolicy: Always") {
		t.Errorf("a native sidecar for nodes that cannot run them:\n%s", out.out)
	}
	if err := c.Delete(t.Context(), node); err != nil {
		t.Fatal(err)
	}
}

func liveWorkload(t *testing.T, c *cluster) {
	c.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, deployment("shop", "web"))
	c.run(t, "", "inject", "--diff", "deploy/web", "-n", "shop").want(t, 0,
		"Deployment shop/web\n", "  + init container istio-proxy (native sidecar)\n", "0 changed, 0 removed, 0 moved")
	c.run(t, "", "inject", "deployment/web.shop").want(t, 0, "istio-proxy", "kind: Deployment")
	c.run(t, "", "inject", "--diff", "deployment/none", "-n", "shop").want(t, 1, "read Deployment shop/none: ")
}

func deployment(namespace, name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: name, Image: name + ":1"}}},
			},
		},
	}
}

// answerer is a webhook that adds a label to pods of the namespace shop and refuses others.
func answerer(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var review admissionreview.AdmissionReview
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &review)
		}
		if err != nil || review.Request == nil || review.Request.DryRun == nil || !*review.Request.DryRun {
			t.Errorf("asked with %s (%v); want the review of a dry run", body, err)
			return
		}
		kind := admissionreview.PatchTypeJSONPatch
		review.Response = &admissionreview.AdmissionResponse{
			UID: review.Request.UID, Allowed: true, PatchType: &kind, Warnings: []string{"be careful"},
			Patch: []byte(`[{"op":"add","path":"/metadata/labels","value":{"by":"` + r.URL.Path + `"}}]`),
		}
		if review.Request.Namespace != "shop" {
			review.Response = &admissionreview.AdmissionResponse{UID: review.Request.UID, Result: &metav1.Status{Message: "not here"}}
		}
		if err := json.NewEncoder(w).Encode(review); err != nil {
			t.Error(err)
		}
	}
}

func webhookAtURL(t *testing.T, c *cluster) {
	server := httptest.NewTLSServer(answerer(t))
	defer server.Close()
	at := server.URL + "/inject/net/n1"
	none := admissionv1.SideEffectClassNone
	c.create(t, &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "elsewhere"},
		Webhooks: []admissionv1.MutatingWebhook{{
			Name: "x.sidecar-injector.istio.io", SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
			ClientConfig: admissionv1.WebhookClientConfig{
				URL: &at, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
			},
			ObjectSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"istio.io/deactivated": "never-match"}},
		}},
	})
	config := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "elsewhere"}}
	defer func() {
		if err := c.Delete(t.Context(), config); err != nil {
			t.Error(err)
		}
	}()
	c.run(t, webPod, "kube-inject", "-f", "-", "-n", "shop", "--webhookConfig", "none").want(t, 1, "read MutatingWebhookConfiguration none: ")
	c.run(t, webPod, "kube-inject", "-f", "-", "-n", "shop", "--webhookConfig", "elsewhere").want(t, 0,
		"    by: /inject/net/n1\n", "warning: Pod web: be careful\n", "settings: those of the webhook of elsewhere in cluster ")
	c.run(t, webPod, "kube-inject", "-f", "-", "-n", "ops", "--webhookConfig", "elsewhere").want(t, 1,
		"Pod web: refused by the webhook of elsewhere: not here")
}

// webhookBehindAPIServer: an API server's proxy to Services is not part of the test's, so
// that one answers for it.
func webhookBehindAPIServer(t *testing.T, c *cluster) {
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	host, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(host)
	proxy.Transport = transport
	mux := http.NewServeMux()
	mux.Handle("POST /api/v1/namespaces/istio-system/services/https:istiod:443/proxy/inject", answerer(t))
	mux.Handle("/", proxy)
	server := httptest.NewServer(mux)
	defer server.Close()
	text := "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: a}}]\nclusters: [{name: a, cluster: {server: \"" +
		server.URL + "\"}}]\n"
	behind := &cluster{Client: c.Client, kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	if err := os.WriteFile(behind.kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	behind.run(t, webPod, "kube-inject", "-f", "-", "-n", "shop", "--webhookConfig", "istio-sidecar-injector").want(t, 0,
		"by: /api/v1/namespaces/istio-system/services/https:istiod:443/proxy/inject\n")
}

func explainLive(t *testing.T, c *cluster) {
	c.run(t, "", "explain-inject", "deployment", "web", "-n", "shop").want(t, 2,
		"Deployment shop/web: ✘ not injected [NamespaceNotLabelled]\n", "→ kubectl label namespace shop istio-injection=enabled",
		`✘ the policy is disabled: yes, the policy is "disabled" [PolicyDisabled]`)
	c.run(t, "", "explain-inject", "deployment", "web", "-n", "shop", "--namespace-labels", "istio-injection=enabled",
		"--set", "global.proxy.autoInject=enabled").want(t, 0, "Deployment shop/web: ✔ injected by revision default [PolicyEnabled]\n")
	c.run(t, webPod, "explain-inject", "-f", "-", "-n", "nowhere").want(t, 2, "namespace nowhere does not exist yet")
}

func checkLive(t *testing.T, c *cluster) {
	setLabels(t, c, "shop", map[string]string{"istio-injection": "enabled"})
	// The API server asks, the injector says no: the case that a look at labels gets wrong.
	got := c.run(t, "", "x", "check-inject", "deployment/web", "-n", "shop")
	got.want(t, 0)
	want := `WEBHOOK                 REVISION  INJECTED  REASON
istio-sidecar-injector  default   ✘         the policy is "disabled" [PolicyDisabled]

Deployment shop/web: ✘ not injected [PolicyDisabled]
`
	if d := cmp.Diff(want, got.out); d != "" {
		t.Error(d)
	}
	c.must(t, "install", "-y", "--set", "profile=minimal")
	got = c.run(t, "", "x", "check-inject", "-n", "shop", "-l", "app=web")
	want = `WEBHOOK                 REVISION  INJECTED  REASON
istio-sidecar-injector  default   ✔         Namespace label istio-injection=enabled matches

a pod with labels app=web: ✔ injected by revision default [PolicyEnabled]
`
	if d := cmp.Diff(want, got.out); d != "" {
		t.Error(d)
	}
}

func setLabels(t *testing.T, c *cluster, namespace string, labels map[string]string) {
	t.Helper()
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	n.Labels = labels
	if err := c.Update(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

func uninjectedLive(t *testing.T, c *cluster) {
	pod := func(name, image string, annotations map[string]string) *corev1.Pod {
		p := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "depot", Name: name, Annotations: annotations},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "a"}}},
		}
		if image != "" {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "istio-proxy", Image: image})
		}
		return p
	}
	status := map[string]string{"sidecar.istio.io/status": `{"containers":["istio-proxy"],"revision":"default"}`}
	c.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "depot"}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "depot", Name: "default"}},
		pod("bare", "", nil), pod("no", "", map[string]string{"sidecar.istio.io/inject": "false"}),
		pod("old", "ghcr.io/sluicemesh/proxyv2:1", status), pod("good", "ghcr.io/sluicemesh/proxyv2:9.9.9", status))
	c.run(t, "", "uninjected", "-n", "depot", "--check").want(t, 0, "None of 4 pods lacks a proxy")
	setLabels(t, c, "depot", map[string]string{"istio-injection": "enabled"})
	got := c.run(t, "", "uninjected", "-A", "--check", "-o", "json")
	got.want(t, 1)
	type row struct{ Namespace, Pod, Owner, Reason, Want, Revision string }
	var rows []row
	if err := json.Unmarshal([]byte(got.out), &rows); err != nil {
		t.Fatalf("%v: %s", err, got.out)
	}
	want := []row{
		{"depot", "bare", "Pod/bare", "MissedAtCreation", "", "default"},
		{"depot", "old", "Pod/old", "OutdatedProxy", "ghcr.io/sluicemesh/proxyv2:9.9.9", "default"},
	}
	if d := cmp.Diff(want, rows); d != "" {
		t.Error(d)
	}
	c.run(t, "", "uninjected", "-n", "depot").want(t, 0, "NAMESPACE  POD   OWNER     REASON", "delete the pod and create it again")
	c.run(t, "", "explain-inject", "bare", "-n", "depot").want(t, 0, "The pod runs without the proxy: it was created under other rules.")
	c.run(t, "", "x", "check-inject", "old.depot").want(t, 0, "The pod runs with the proxy of revision default.")
}
