package webhook

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/webhook/patch"
)

// TestInjectTwice is the property that reinjection, other webhooks and restarts rely on:
// inject∘inject = inject, over generated pods; and the patch says the same as the pod.
func TestInjectTwice(t *testing.T) {
	settings := []*Settings{
		settingsOf(t, testCase{}),
		settingsOf(t, testCase{
			Mesh:   map[string]any{"defaultConfig": map[string]any{"holdApplicationUntilProxyStarts": true}},
			Values: json.RawMessage(`{"global":{"imagePullSecrets":["mesh"],"network":"n1","proxy":{"excludeOutboundPorts":"25"}}}`),
			Config: map[string]any{"injectedAnnotations": map[string]any{"prometheus.io/path": "/mesh", "example.com/mesh": "yes"}},
		}),
		settingsOf(t, testCase{
			Mesh: map[string]any{
				"defaultConfig":      map[string]any{"proxyMetadata": map[string]any{"ENVOY_SECURE_MERGED_METRICS_PORT": "15091", "IPTABLES_TRACE_LOGGING": "true"}},
				"extensionProviders": []any{map[string]any{"name": "t", "opentelemetry": map[string]any{"service": "c.d.svc", "port": 4317, "serviceAttributeEnrichment": "OTEL_SEMANTIC_CONVENTIONS"}}},
			},
			Values: json.RawMessage(`{"pilot":{"cni":{"enabled":true,"provider":"multus"},"env":{"COMPLIANCE_POLICY":"fips-140-3"}},
				"global":{"nativeNftables":true,"mountMtlsCerts":true,"sts":{"servicePort":1},"proxy":{"tracer":"datadog","excludeInboundPorts":"22"}}}`),
			Platform: "openshift",
		}),
	}
	namespace := map[string]string{"openshift.io/sa.scc.uid-range": "2000/100"}
	injected := 0
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 7))
		request := Request{Pod: randomPod(r), Namespace: "shop", NamespaceAnnotations: namespace, Native: r.IntN(2) == 0}
		if result := checkedInject(t, settings[r.IntN(len(settings))], request); result.Pod != nil {
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
			checkPatch(t, settings, request.Pod, second.Pod, new(patch.Writer).Native)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestOtherWebhooks: another webhook that works on every container may come before or
// after; the API server calls both again until nothing changes, and the pod is the same.
func TestOtherWebhooks(t *testing.T) {
	settings := []*Settings{
		settingsOf(t, testCase{}),
		settingsOf(t, testCase{Values: json.RawMessage(`{"pilot":{"cni":{"enabled":true,"provider":"multus"}}}`)}),
	}
	compared := 0
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 13))
		request := Request{Pod: randomPod(r), Namespace: "shop", Native: r.IntN(2) == 0}
		set := settings[r.IntN(2)]
		inject := func(pod *corev1.Pod) *corev1.Pod {
			again := request
			again.Pod = reread(t, pod)
			if result := Inject(set, again); result.Pod != nil {
				return result.Pod
			}
			return pod // refused in either order, for the same reason
		}
		// The injector comes first and is called again; or last, and the other is called again.
		first := inject(otherWebhook(t, inject(request.Pod)))
		last := otherWebhook(t, inject(otherWebhook(t, request.Pod)))
		if last.Annotations["sidecar.istio.io/status"] == "" {
			continue
		}
		compared++
		forgetOverrides(first)
		forgetOverrides(last)
		if diff := cmp.Diff(marshal(t, last), marshal(t, first)); diff != "" {
			t.Fatalf("seed %d: the order of webhooks matters (-other first +injector first):\n%s\npod:\n%s", seed, diff, marshal(t, request.Pod))
		}
	}
	if compared < 600 {
		t.Errorf("only %d of 1000 pods were injected: the generator makes too many bad ones", compared)
	}
}

// forgetOverrides drops the record of the user's own containers: what the other webhook
// added to them counts as the user's when it came first, and sorts differently.
func forgetOverrides(pod *corev1.Pod) {
	delete(pod.Annotations, "proxy.istio.io/overrides")
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			slices.SortStableFunc(list[i].Env, func(a, b corev1.EnvVar) int { return strings.Compare(a.Name, b.Name) })
			slices.SortFunc(list[i].VolumeMounts, func(a, b corev1.VolumeMount) int { return strings.Compare(a.MountPath, b.MountPath) })
		}
	}
}

// otherWebhook adds a sidecar with a probe, an init container, a volume, an annotation and
// a variable in every container, as secret and tracing agents do. It is idempotent.
func otherWebhook(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	out := reread(t, pod)
	add := func(list []corev1.Container, c corev1.Container) []corev1.Container {
		if slices.ContainsFunc(list, func(have corev1.Container) bool { return have.Name == c.Name }) {
			return list
		}
		return append(list, c)
	}
	out.Spec.Containers = add(out.Spec.Containers, corev1.Container{
		Name: "agent-of-others", Image: "example.com/agent:1", Ports: []corev1.ContainerPort{{Name: "live", ContainerPort: 8200}},
		LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/live", Port: intstr.FromString("live")}}},
	})
	out.Spec.InitContainers = add(out.Spec.InitContainers, corev1.Container{Name: "setup-of-others", Image: "example.com/setup:1"})
	if !slices.ContainsFunc(out.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == "secrets-of-others" }) {
		out.Spec.Volumes = append(out.Spec.Volumes, corev1.Volume{Name: "secrets-of-others"})
	}
	if out.Annotations == nil {
		out.Annotations = map[string]string{}
	}
	out.Annotations["example.com/of-others"] = "yes"
	for _, list := range [][]corev1.Container{out.Spec.Containers, out.Spec.InitContainers} {
		for i := range list {
			if !slices.ContainsFunc(list[i].Env, func(e corev1.EnvVar) bool { return e.Name == "OF_OTHERS" }) {
				list[i].Env = append(list[i].Env, corev1.EnvVar{Name: "OF_OTHERS", Value: "1"})
				list[i].VolumeMounts = append(list[i].VolumeMounts, corev1.VolumeMount{Name: "secrets-of-others", MountPath: "/others"})
			}
		}
	}
	return out
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
		"traffic.sidecar.istio.io/excludeInterfaces":       {"net1, net2"},
		"istio.io/reroute-virtual-interfaces":              {"docker0"},
		"sidecar.istio.io/interceptionMode":                {"NONE", "REDIRECT", "TPROXY"},
		"sidecar.istio.io/capNetBindService":               {"true", "false"},
		"sidecar.istio.io/bootstrapOverride":               {"my-bootstrap"},
		"sidecar.istio.io/userVolume":                      {`{"certs":{"emptyDir":{}}}`, `[{"name":"workload-socket","emptyDir":{}}]`},
		"sidecar.istio.io/userVolumeMount":                 {`{"istio-data":{"mountPath":"/data"}}`, `[{"name":"istio-envoy","mountPath":"/etc/istio/pod"}]`},
		"apm.datadoghq.com/env":                            {`{"DD_ENV":"x","CA_ADDR":"y"}`, "bad"},
		"resource.opentelemetry.io/service.version":        {"v 1"},
		"k8s.v1.cni.cncf.io/networks":                      {"sriov", `[{"name":"sriov"}]`, "[", "default/istio-cni"},
		"prometheus.istio.io/secure-port":                  {"1"},
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
	for _, name := range []string{"enable-core-dump", "istio-validation"} {
		if r.IntN(8) == 0 {
			pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{Name: name, Image: "example.com/x"})
		}
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
		if name == "istio-proxy" {
			c.Env = append(c.Env, corev1.EnvVar{Name: "POD_NAME", Value: "other"})
		}
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
		uid, gid := int64(1000+r.IntN(2)*337), int64(r.IntN(2)*1337)
		c.SecurityContext = &corev1.SecurityContext{RunAsUser: &uid}
		if r.IntN(4) == 0 {
			c.SecurityContext.RunAsGroup = &gid
		}
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
		checkPatch(t, settings, reread(t, pod), reread(t, result.Pod), new(patch.Writer).Native)
	})
}
