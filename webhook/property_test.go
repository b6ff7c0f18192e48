package webhook

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluicemesh/sluice/internal/problem"
)

// TestInjectTwice is the property that reinjection, other webhooks and restarts rely on:
// inject∘inject = inject, over generated pods; and the patch says the same as the pod.
func TestInjectTwice(t *testing.T) {
	settings := []*Settings{
		settingsOf(t, testCase{}),
		settingsOf(t, testCase{
			Mesh:   map[string]any{"defaultConfig": map[string]any{"holdApplicationUntilProxyStarts": true}},
			Values: json.RawMessage(`{"global":{"imagePullSecrets":["mesh"],"network":"n1","proxy":{"excludeOutboundPorts":"25"}}}`),
		}),
	}
	injected := 0
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 7))
		request := Request{Pod: randomPod(r), Namespace: "shop", Native: r.IntN(2) == 0}
		if result := checkedInject(t, settings[r.IntN(2)], request); result.Pod != nil {
			injected++
		}
		if t.Failed() {
			t.Fatalf("seed %d, native %v, pod:\n%s", seed, request.Native, marshal(t, request.Pod))
		}
	}
	if injected < 2000 {
		t.Errorf("only %d of 3000 pods were injected: the generator makes too many bad ones", injected)
	}
}

// TestPatchAfterChange: settings that changed between two injections, as another webhook
// may do, are patched rightly too: probes go back, the proxy moves, hooks and volumes go.
func TestPatchAfterChange(t *testing.T) {
	settings := settingsOf(t, testCase{})
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 11))
		request := Request{Pod: randomPod(r), Namespace: "shop", Native: r.IntN(2) == 0}
		first := Inject(settings, request)
		if first.Pod == nil {
			continue
		}
		request.Pod = reread(t, first.Pod)
		request.Native = !request.Native
		request.Pod.Annotations["sidecar.istio.io/rewriteAppHTTPProbers"] = "false"
		for i := range request.Pod.Spec.Containers {
			if p := request.Pod.Spec.Containers[i].LivenessProbe; p != nil && r.IntN(2) == 0 {
				p.PeriodSeconds = 99
			}
		}
		if second := Inject(settings, request); second.Pod != nil {
			checkPatch(t, request.Pod, second.Pod, createPatch)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// randomPod makes a pod that the API server would accept, with what injection touches.
func randomPod(r *rand.Rand) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web"}}
	maybe := func() bool { return r.IntN(4) == 0 }
	if maybe() {
		pod.Labels = map[string]string{"app": "web", "version": "v1"}
	}
	options := map[string][]string{
		"traffic.sidecar.istio.io/includeOutboundIPRanges": {"*", "", "10.0.0.0/8"},
		"traffic.sidecar.istio.io/excludeInboundPorts":     {"22", ""},
		"sidecar.istio.io/interceptionMode":                {"NONE", "REDIRECT"},
		"sidecar.istio.io/nativeSidecar":                   {"true", "false"},
		"sidecar.istio.io/rewriteAppHTTPProbers":           {"true", "false"},
		"sidecar.istio.io/proxyCPU":                        {"10m"},
		"status.sidecar.istio.io/port":                     {"0", "15020", "15021", "16000"},
		"prometheus.io/port":                               {"9090", "15020", "16000"},
		"prometheus_io_path":                               {"/m"},
		"prometheus.io/scrape":                             {"true", "false"},
		"prometheus.istio.io/scrape-targets":               {"9090:/a,9091"},
		"prometheus.istio.io/merge-metrics":                {"true", "false"},
		"inject.istio.io/templates":                        {"sidecar", "gateway"},
		"proxy.istio.io/config":                            {"holdApplicationUntilProxyStarts: true", "proxyMetadata: {A: b}", "statusPort: 15999"},
		"kubectl.kubernetes.io/default-container":          {"app-0"},
	}
	pod.Annotations = map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(options)) {
		if r.IntN(6) == 0 {
			pod.Annotations[key] = options[key][r.IntN(len(options[key]))]
		}
	}
	for i := range r.IntN(3) {
		pod.Spec.Containers = append(pod.Spec.Containers, randomContainer(r, fmt.Sprintf("app-%d", i)))
	}
	for i := range r.IntN(3) {
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, randomContainer(r, fmt.Sprintf("init-%d", i)))
	}
	if maybe() || len(pod.Spec.Containers) == 0 {
		c := randomContainer(r, "istio-proxy")
		c.Image = []string{"auto", "", "example.com/p:1"}[r.IntN(3)]
		at := r.IntN(len(pod.Spec.Containers) + 1)
		pod.Spec.Containers = append(pod.Spec.Containers[:at:at], append([]corev1.Container{c}, pod.Spec.Containers[at:]...)...)
	}
	if maybe() {
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{Name: "istio-init", Image: "auto"})
	}
	for _, name := range []string{"data", "istio-envoy", "workload-socket"} {
		if maybe() {
			pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name})
		}
	}
	for _, name := range []string{"mesh", "mine"} {
		if maybe() {
			pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
		}
	}
	if maybe() {
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "net.core.somaxconn", Value: "1"}}}
	}
	return pod
}

func randomContainer(r *rand.Rand, name string) corev1.Container {
	c := corev1.Container{Name: name, Image: "example.com/" + name}
	if r.IntN(2) == 0 {
		c.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: int32(8000 + r.IntN(10))}}
	}
	if r.IntN(3) == 0 {
		c.Env = []corev1.EnvVar{{Name: "OWN", Value: "1"}, {Name: "CA_ADDR", Value: "x:1"}}
	}
	for _, p := range []**corev1.Probe{&c.ReadinessProbe, &c.LivenessProbe, &c.StartupProbe} {
		if r.IntN(3) == 0 {
			*p = &corev1.Probe{ProbeHandler: randomHandler(r), TimeoutSeconds: int32(r.IntN(3))}
		}
	}
	if r.IntN(4) == 0 {
		h := randomHandler(r)
		c.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: h.Exec, HTTPGet: h.HTTPGet, TCPSocket: h.TCPSocket}}
	}
	if r.IntN(4) == 0 {
		uid := int64(1000 + r.IntN(2)*337)
		c.SecurityContext = &corev1.SecurityContext{RunAsUser: &uid}
	}
	return c
}

func randomHandler(r *rand.Rand) corev1.ProbeHandler {
	port := []intstr.IntOrString{
		intstr.FromString("http"), intstr.FromString("8080"), intstr.FromString("none"), intstr.FromInt32(8080), intstr.FromInt32(15020),
	}[r.IntN(5)]
	switch r.IntN(4) {
	case 0:
		return corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}
	case 1:
		return corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: port}}
	case 2:
		return corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 9000}}
	}
	return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
		Path: "/h", Port: port, Scheme: []corev1.URIScheme{"", "HTTP", "HTTPS"}[r.IntN(3)],
	}}
}

// FuzzInject: no pod makes the injector panic or emit something that is no pod.
func FuzzInject(f *testing.F) {
	for seed := range uint64(20) {
		data, err := json.Marshal(randomPod(rand.New(rand.NewPCG(seed, 1))))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, seed%2 == 0)
	}
	f.Add([]byte(`{"metadata":{"annotations":{"sidecar.istio.io/status":"{}"}},"spec":{"containers":[{},{}]}}`), true)
	f.Add([]byte(`{"metadata":{"annotations":{"sidecar.istio.io/status":"{\"containers\":[\"a\"]}"}},"spec":{"containers":[{"name":"a"}]}}`), true)
	settings, err := NewSettings(Source{Tag: "1.0.0"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte, native bool) {
		pod := &corev1.Pod{}
		if json.Unmarshal(data, pod) != nil {
			return
		}
		before := marshal(t, pod)
		result := Inject(settings, Request{Pod: pod, Namespace: "shop", Native: native})
		if marshal(t, pod) != before {
			t.Error("the input was modified")
		}
		if result.Pod == nil {
			if result.Decision.Inject && !problem.AnyFatal(result.Problems) {
				t.Error("neither a pod nor a reason")
			}
			return
		}
		checkPatch(t, reread(t, pod), reread(t, result.Pod), createPatch)
	})
}
