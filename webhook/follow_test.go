package webhook

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/wrapperspb"
	apinetworking "istio.io/api/networking/v1beta1"
	networkingv1beta1 "istio.io/client-go/pkg/apis/networking/v1beta1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// startLoader runs a loader alone under a manager.
func startLoader(t *testing.T, config *rest.Config) (*state, client.Client) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, networkingv1beta1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	cfg := Config{Log: slog.New(slog.DiscardHandler), Platform: openShift}.withDefaults()
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, Cache: cache.Options{ByObject: CacheOptions(cfg)},
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	st := &state{native: newNative(nativeAuto), namespaces: &namespaces{annotations: map[string]map[string]string{}}}
	err = mgr.Add(&loader{
		cfg: cfg, state: st, metrics: m, cache: mgr.GetCache(), client: mgr.GetClient(),
		events: mgr.GetEventRecorder("test"), retry: 100 * time.Millisecond,
	})
	if err != nil {
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
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return st, c
}

// proxyConfigOf injects a pod and returns what its proxy is told.
func proxyConfigOf(t *testing.T, s *Settings, labels map[string]string) string {
	t.Helper()
	pod := plainPod("shop", labels)
	result := Inject(s, Request{Pod: pod, Namespace: "shop"})
	if result.Pod == nil {
		t.Fatal(result.Problems)
	}
	for _, c := range result.Pod.Spec.Containers {
		for _, e := range c.Env {
			if e.Name == "PROXY_CONFIG" {
				return e.Value
			}
		}
	}
	return "no PROXY_CONFIG"
}

// TestFollow: the kind ProxyConfig comes after the control plane, objects come and go, and
// so do namespaces and configurations; every wait is for what a pod would get.
func TestFollow(t *testing.T) {
	config := startAPIServer(t)
	st, c := startLoader(t, config)
	waitFor(t, "the start without the kind", func() bool { return st.ready() == nil })

	create(t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Annotations: map[string]string{
		"openshift.io/sa.scc.uid-range": "1000/10", "openshift.io/description": "not ours",
	}}})
	waitFor(t, "the namespace", func() bool {
		return cmp.Equal(st.namespaces.of("shop"), map[string]string{"openshift.io/sa.scc.uid-range": "1000/10"})
	})
	if got := st.namespaces.of("elsewhere"); got != nil {
		t.Errorf("annotations of no namespace = %v", got)
	}

	_, err := envtest.InstallCRDs(config, envtest.CRDInstallOptions{
		Paths: []string{"../manifests/charts/base/files/crds/proxyconfigs.networking.istio.io.yaml"}, ErrorIfPathMissing: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	wide := &networkingv1beta1.ProxyConfig{
		ObjectMeta: metav1.ObjectMeta{Name: "all", Namespace: "shop"},
		Spec:       apinetworking.ProxyConfig{Concurrency: wrapperspb.Int32(3)},
	}
	broken := &networkingv1beta1.ProxyConfig{
		ObjectMeta: metav1.ObjectMeta{Name: "broken", Namespace: "shop"},
		Spec:       apinetworking.ProxyConfig{EnvironmentVariables: map[string]string{"A B": "1"}},
	}
	create(t, c, wide, broken)
	waitFor(t, "the object in force", func() bool {
		return proxyConfigOf(t, st.settings.Load(), nil) == `{"concurrency":3}`
	})
	waitFor(t, "an Event on the broken object", func() bool {
		return eventOf(t, c, "InvalidProxyConfig", "broken", `spec.environmentVariables: "A B"`)
	})

	// The configuration is read again: the objects stay in force.
	create(t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "istio-system"}}, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "istio", Namespace: "istio-system"},
		Data:       map[string]string{"mesh": "{trustDomain: example.org, bogus: 1, defaultConfig: {drainDuration: 7s}}"},
	}, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "istio-sidecar-injector", Namespace: "istio-system"},
		Data:       map[string]string{"config": "neverInjectSelector: [{matchExpressions: [{key: a, operator: Maybe}]}]"},
	})
	waitFor(t, "the mesh below the object", func() bool {
		return proxyConfigOf(t, st.settings.Load(), nil) == `{"drainDuration":"7s","concurrency":3}`
	})
	waitFor(t, "an Event on the configuration", func() bool {
		return eventOf(t, c, "IgnoredSetting", "istio-sidecar-injector", "unknown field bogus") ||
			eventOf(t, c, "IgnoredSetting", "istio-sidecar-injector", "Maybe")
	})

	if err := c.Delete(t.Context(), wide); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the object gone", func() bool { return proxyConfigOf(t, st.settings.Load(), nil) == `{"drainDuration":"7s"}` })
}

func TestNamespacesForget(t *testing.T) {
	n := &namespaces{annotations: map[string]map[string]string{}}
	n.set(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a"}})
	if n.of("a") == nil {
		t.Error("a namespace without annotations is not known")
	}
	n.forget("a")
	if n.of("a") != nil || (*namespaces)(nil).of("a") != nil {
		t.Error("a namespace that is gone, or none that counts, has annotations")
	}
}

func eventOf(t *testing.T, c client.Client, reason, object, note string) bool {
	t.Helper()
	var list eventsv1.EventList
	if err := c.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	for _, e := range list.Items {
		if e.Reason == reason && e.Regarding.Name == object && strings.Contains(e.Note, note) {
			return true
		}
	}
	return false
}
