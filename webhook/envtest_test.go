package webhook

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	admissionregv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
)

// patience bounds every wait for the API server, which is eventually consistent.
const patience = 60 * time.Second

// selfSigned is an Authority with one root for the test's listener.
type selfSigned struct {
	key  *ecdsa.PrivateKey
	root *x509.Certificate
	pem  []byte
}

func newSelfSigned(t *testing.T) *selfSigned {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &selfSigned{key: key, root: root, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (s *selfSigned) ServingCertificate(_ context.Context, names []string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, s.root, key.Public(), s.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func (s *selfSigned) Roots() []byte                 { return s.pem }
func (s *selfSigned) RootsChanged() <-chan struct{} { return nil }

// startAPIServer starts etcd and the API server of KUBEBUILDER_ASSETS; flags, name and value
// in turn, are further ones of the API server.
func startAPIServer(t *testing.T, flags ...string) *rest.Config {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Fatal("KUBEBUILDER_ASSETS names no directory with etcd and kube-apiserver: make test sets it")
	}
	env := &envtest.Environment{ControlPlaneStartTimeout: 2 * time.Minute, ControlPlaneStopTimeout: time.Minute}
	for i := 0; i+1 < len(flags); i += 2 {
		env.ControlPlane.GetAPIServer().Configure().Set(flags[i], flags[i+1])
	}
	config, err := env.Start()
	if err != nil {
		t.Fatalf("start API server: %v", err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Errorf("stop API server: %v", err)
		}
	})
	return config
}

// startWebhook runs the webhook under a manager and returns its address.
func startWebhook(t *testing.T, config *rest.Config, authority Authority) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(address[strings.LastIndexByte(address, ':')+1:])
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	ctrllog.SetLogger(logr.FromSlogHandler(log.Handler()))
	cfg := Config{Authority: authority, Tag: "1.0.0", Log: log}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Metrics:       metricsserver.Options{BindAddress: "0"},
		WebhookServer: ctrlwebhook.NewServer(ctrlwebhook.Options{Host: "127.0.0.1", Port: port}),
		Cache:         cache.Options{ByObject: CacheOptions(cfg)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := Setup(mgr, cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("manager: %v", err)
		}
	})
	return address
}

// entry is one webhook of the real configuration; its path makes the injector say which
// one called, in the variable FIRED of the proxy.
func entry(address, revision, prefix string, namespace, object []metav1.LabelSelectorRequirement) admissionregv1.MutatingWebhook {
	fail, none := admissionregv1.Fail, admissionregv1.SideEffectClassNone
	url := "https://" + address + "/inject/fired/" + revision + ":" + prefix
	return admissionregv1.MutatingWebhook{
		Name:              prefix + ".sidecar-injector.istio.io",
		ClientConfig:      admissionregv1.WebhookClientConfig{URL: &url},
		NamespaceSelector: &metav1.LabelSelector{MatchExpressions: namespace},
		ObjectSelector:    &metav1.LabelSelector{MatchExpressions: object},
		Rules: []admissionregv1.RuleWithOperations{{
			Operations: []admissionregv1.OperationType{admissionregv1.Create},
			Rule:       admissionregv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
		}},
		FailurePolicy: &fail, SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
	}
}

// configuration is the object that the chart installs for a revision; the default one has
// two more entries.
func configuration(address, revision string) *admissionregv1.MutatingWebhookConfiguration {
	is := func(key string, op metav1.LabelSelectorOperator, values ...string) metav1.LabelSelectorRequirement {
		return metav1.LabelSelectorRequirement{Key: key, Operator: op, Values: values}
	}
	type all = []metav1.LabelSelectorRequirement
	const in, notIn, absent = metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn, metav1.LabelSelectorOpDoesNotExist
	const injection, rev, inject = "istio-injection", "istio.io/rev", "sidecar.istio.io/inject"
	c := &admissionregv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "istio-sidecar-injector-" + revision, Labels: map[string]string{rev: revision}},
		Webhooks: []admissionregv1.MutatingWebhook{
			entry(address, revision, "rev.namespace", all{is(rev, in, revision), is(injection, absent)}, all{is(inject, notIn, "false")}),
			entry(address, revision, "rev.object", all{is(rev, absent), is(injection, absent)}, all{is(inject, notIn, "false"), is(rev, in, revision)}),
		},
	}
	if revision == "default" {
		c.Webhooks = append(c.Webhooks,
			entry(address, revision, "namespace", all{is(injection, in, "enabled")}, all{is(inject, notIn, "false")}),
			entry(address, revision, "object", all{is(injection, absent), is(rev, absent)}, all{is(inject, in, "true"), is(rev, absent)}))
	}
	return c
}

// TestEnvtest runs the webhook against a real API server.
func TestEnvtest(t *testing.T) {
	config := startAPIServer(t)
	authority := newSelfSigned(t)
	address := startWebhook(t, config, authority)
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	own, canary := configuration(address, "default"), configuration(address, "canary")
	for i := range canary.Webhooks { // another revision's control plane is not here to patch it
		canary.Webhooks[i].ClientConfig.CABundle = authority.Roots()
	}
	create(t, c, own, canary)
	waitFor(t, "caBundle of every entry", func() bool {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(own), own); err != nil {
			return false
		}
		for _, w := range own.Webhooks {
			if string(w.ClientConfig.CABundle) != string(authority.Roots()) {
				return false
			}
		}
		return true
	})
	createNamespaces(t, c)
	waitFor(t, "injected pod", func() bool { return fired(t, c, "enabled", nil) == "default:namespace" })

	t.Run("selectors", func(t *testing.T) { testSelectors(t, c) })
	t.Run("configuration", func(t *testing.T) { testConfiguration(t, c) })
	t.Run("refusal", func(t *testing.T) {
		pod := plainPod("enabled", nil)
		pod.Annotations = map[string]string{"traffic.sidecar.istio.io/excludeOutboundPorts": "https"}
		err := c.Create(t.Context(), pod)
		if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), `"https" is not a port`) {
			t.Errorf("create = %v; want a refusal that names the port", err)
		}
	})
	t.Run("accepted", func(t *testing.T) { testAccepted(t, c) })
	t.Run("reports", func(t *testing.T) { testReports(t, c) })
	t.Run("audit", func(t *testing.T) { testAudit(t, c) })
	t.Run("generated pods", func(t *testing.T) { testGeneratedPods(t, c) })
	t.Run("golden pods", func(t *testing.T) { testGoldenPods(t, c) })
	t.Run("reinvocation", func(t *testing.T) { testReinvocation(t, c, authority, address) })
}

// namespaceLabels are the rows of the table in testSelectors.
func namespaceLabels() map[string]map[string]string {
	return map[string]map[string]string{
		"none":            {},
		"late":            {}, // labelled in testAudit
		"enabled":         {"istio-injection": "enabled"},
		"disabled":        {"istio-injection": "disabled"},
		"rev-default":     {"istio.io/rev": "default"},
		"rev-canary":      {"istio.io/rev": "canary"},
		"rev-unknown":     {"istio.io/rev": "unknown"},
		"enabled-canary":  {"istio-injection": "enabled", "istio.io/rev": "canary"},
		"disabled-canary": {"istio-injection": "disabled", "istio.io/rev": "canary"},
	}
}

// testSelectors lets the API server's own selectors decide: which entry calls for which
// labels, and that never two do.
func testSelectors(t *testing.T, c client.Client) {
	const inject, rev = "sidecar.istio.io/inject", "istio.io/rev"
	pods := []map[string]string{
		nil, {inject: "true"}, {inject: "false"}, {inject: "yes"}, {rev: "default"}, {rev: "default", inject: "true"},
		{rev: "default", inject: "false"}, {rev: "canary"}, {rev: "unknown"},
	}
	const (
		ns       = "default:namespace"
		byRev    = "default:rev.namespace"
		byCanary = "canary:rev.namespace"
	)
	want := map[string][]string{
		"none":            {"", "default:object", "", "", "default:rev.object", "default:rev.object", "", "canary:rev.object", ""},
		"enabled":         {ns, ns, "", ns, ns, ns, "", ns, ns},
		"disabled":        {"", "", "", "", "", "", "", "", ""},
		"rev-default":     {byRev, byRev, "", byRev, byRev, byRev, "", byRev, byRev},
		"rev-canary":      {byCanary, byCanary, "", byCanary, byCanary, byCanary, "", byCanary, byCanary},
		"rev-unknown":     {"", "", "", "", "", "", "", "", ""},
		"enabled-canary":  {ns, ns, "", ns, ns, ns, "", ns, ns},
		"disabled-canary": {"", "", "", "", "", "", "", "", ""},
	}
	for namespace, row := range want {
		for i, labels := range pods {
			if got := fired(t, c, namespace, labels); got != row[i] {
				t.Errorf("namespace %s, pod labels %v: %q fired; want %q", namespace, labels, got, row[i])
			}
		}
	}
}

// testConfiguration changes the ConfigMaps: a good one counts, a bad one does not.
func testConfiguration(t *testing.T, c client.Client) {
	image := func() string {
		pod := plainPod("enabled", nil)
		if err := c.Create(t.Context(), pod, client.DryRunAll); err != nil {
			t.Fatal(err)
		}
		return pod.Spec.InitContainers[1].Image
	}
	if got := image(); got != "ghcr.io/sluicemesh/proxyv2:1.0.0" {
		t.Errorf("image without configuration = %s", got)
	}
	m := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "istio-sidecar-injector"},
		Data:       map[string]string{"values": `{"global":{"hub":"registry.example.com","tag":"2.0.0"}}`},
	}
	create(t, c, m)
	waitFor(t, "the new image", func() bool { return image() == "registry.example.com/proxyv2:2.0.0" })
	m.Data["values"] = `{"global":{"hub":"other.example.com","proxy":{"privileged":"perhaps"}}}`
	if err := c.Update(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "an Event about the bad configuration", func() bool {
		var events eventsv1.EventList
		if err := c.List(t.Context(), &events, client.InNamespace("istio-system")); err != nil {
			t.Fatal(err)
		}
		for _, e := range events.Items {
			if e.Reason == "InvalidInjectorConfig" && e.Regarding.Name == m.Name && strings.Contains(e.Note, "privileged") {
				return true
			}
		}
		return false
	})
	if got := image(); got != "registry.example.com/proxyv2:2.0.0" {
		t.Errorf("image after a bad configuration = %s; want the previous one", got)
	}
	if err := c.Delete(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the built-in image", func() bool { return image() == "ghcr.io/sluicemesh/proxyv2:1.0.0" })
}

// testAccepted: what injection makes of many pods is accepted by the API server's own
// validation, native and classic, sidecar and gateway.
func testAccepted(t *testing.T, c client.Client) {
	tests := map[string]func(*corev1.Pod){
		"plain":      func(*corev1.Pod) {},
		"classic":    func(p *corev1.Pod) { p.Annotations["sidecar.istio.io/nativeSidecar"] = "false" },
		"hold":       func(p *corev1.Pod) { p.Annotations["proxy.istio.io/config"] = "holdApplicationUntilProxyStarts: true" },
		"no capture": func(p *corev1.Pod) { p.Annotations["sidecar.istio.io/interceptionMode"] = "NONE" },
		"no status":  func(p *corev1.Pod) { p.Annotations["status.sidecar.istio.io/port"] = "0" },
		"own proxy": func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "istio-proxy", Image: "auto"})
		},
		"gateway": func(p *corev1.Pod) {
			p.Annotations["inject.istio.io/templates"] = "gateway"
			p.Spec.Containers = []corev1.Container{{Name: "istio-proxy", Image: "auto"}}
		},
		"probes": func(p *corev1.Pod) {
			p.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}
			p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 8080}}}
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			pod := plainPod("enabled", nil)
			pod.Annotations = map[string]string{}
			change(pod)
			if err := c.Create(t.Context(), pod, client.DryRunAll); err != nil {
				t.Fatal(err)
			}
			if pod.Annotations["sidecar.istio.io/status"] == "" {
				t.Error("the pod is not injected")
			}
			for _, p := range append(pod.Spec.Containers, pod.Spec.InitContainers...) {
				if p.Name == "istio-proxy" && p.ImagePullPolicy != corev1.PullIfNotPresent {
					t.Errorf("pull policy of the proxy = %s; want that of a tagged image", p.ImagePullPolicy)
				}
			}
		})
	}
}

// testGeneratedPods: of many generated pods, whatever the API server takes as it is, it takes
// injected as well, unless the injector itself refuses it with its reasons. A pod whose image
// is "auto" or missing may get valid by injection; one that is invalid must not.
func testGeneratedPods(t *testing.T, c client.Client) {
	create := func(pod *corev1.Pod, namespace string) error {
		pod = pod.DeepCopy()
		pod.Namespace, pod.Spec.ServiceAccountName = namespace, "default"
		return c.Create(t.Context(), pod, client.DryRunAll)
	}
	taken := 0
	for seed := range uint64(700) {
		pod := randomPod(mathrand.New(mathrand.NewPCG(seed, 11)))
		plain, injected := create(pod, "default"), create(pod, "enabled")
		if plain != nil {
			continue
		}
		var status apierrors.APIStatus
		switch {
		case injected == nil:
			taken++
		case errors.As(injected, &status) && strings.Contains(status.Status().Message, "denied the request: Pod enabled/web: "):
		default:
			t.Errorf("seed %d: the API server takes the pod plain, and injected says %v\n%s", seed, injected, marshal(t, pod))
		}
	}
	if taken < 100 {
		t.Errorf("only %d pods were taken plain and injected: the generator makes too many bad ones", taken)
	}
}

// fired creates a pod without keeping it and returns which entries injected it.
func fired(t *testing.T, c client.Client, namespace string, labels map[string]string) string {
	t.Helper()
	pod := plainPod(namespace, labels)
	if err := c.Create(t.Context(), pod, client.DryRunAll); err != nil {
		return fmt.Sprintf("error: %v", err)
	}
	var out []string
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, container := range list {
			for _, e := range container.Env {
				if container.Name == "istio-proxy" && e.Name == "FIRED" {
					out = append(out, e.Value)
				}
			}
		}
	}
	return strings.Join(out, "+")
}

func plainPod(namespace string, labels map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "web-", Labels: labels},
		Spec: corev1.PodSpec{
			// envtest runs without the admission plugin that fills this in, and no pod may project
			// a token without it.
			ServiceAccountName: "default",
			Containers:         []corev1.Container{{Name: "app", Image: "example.com/web:1"}},
		},
	}
}

func createNamespaces(t *testing.T, c client.Client) {
	t.Helper()
	create(t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "istio-system"}})
	for name, labels := range namespaceLabels() {
		create(t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}})
	}
}

func create(t *testing.T, c client.Client, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatalf("create %s: %v", o.GetName(), err)
		}
	}
}

// waitFor asks until the condition holds.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("no %s within %s", what, patience)
		case <-tick.C:
		}
	}
}

// TestSetupRefuses: what is missing is said at once.
func TestSetupRefuses(t *testing.T) {
	if err := Setup(nil, Config{}); err == nil || !strings.Contains(err.Error(), "Authority and Log") {
		t.Errorf("Setup without authority = %v", err)
	}
}

func TestDNSNames(t *testing.T) {
	want := []string{"istiod-canary.mesh.svc", "istiod-canary.mesh.svc.example.internal", "istiod-canary.mesh", "istiod.mesh.svc"}
	got := Config{Revision: "canary", Namespace: "mesh", ClusterDomain: "example.internal"}.withDefaults().dnsNames()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names differ (-want +got):\n%s", diff)
	}
}
