package webhook

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/webhook/patch"
)

// texts are templates that touch what a template can: containers of the mesh and of the
// user, lists with and without keys, single fields, labels and annotations.
func texts() map[string]any {
	return map[string]any{
		"helpers": `
spec:
  initContainers: [{name: fetch, image: "example.com/fetch:1"}]
  containers: [{name: logger, image: "example.com/logger:1", ports: [{containerPort: 9000}], livenessProbe: {tcpSocket: {port: 9000}}}]
  imagePullSecrets: [{name: mesh}, {name: extra}]`,
		"everyone": `
spec:
  containers:
  {{- range .Spec.Containers }}
  - name: {{ .Name }}
    env: [{name: OWN, value: template}, {name: REGION, value: north}]
    volumeMounts: [{name: shared, mountPath: /shared}]
    livenessProbe: null
  {{- end }}
  volumes: [{name: shared, emptyDir: {}}, {name: data, configMap: {name: data}}, {name: istio-envoy, emptyDir: {sizeLimit: 1Mi}}]`,
		"proxy": `
spec:
  containers:
  - name: istio-proxy
    env: [{name: GREETING, value: "{{ .DeploymentMeta.Name }} {{ applicationPorts .Spec.Containers }}"}]
    readinessProbe: {httpGet: null, exec: {command: ["true"]}}`,
		"fields": `
metadata:
  labels: {team: "{{ .Revision }}", version: null}
  annotations: {prometheus.io/port: "9090", sidecar.istio.io/proxyMemory: 64Mi, proxy.istio.io/config: "{statusPort: 15999}"}
spec:
  terminationGracePeriodSeconds: 60
  securityContext: {fsGroup: 7}
  tolerations: [{key: mesh, operator: Exists}]
  hostAliases: [{ip: 10.0.0.1, hostnames: [a]}]`,
		"remove": `
spec:
  volumes: [{name: data, $patch: delete}, {name: istio-ca-crl, $patch: delete}]
  initContainers: [{name: init-0, $patch: delete}]
  containers: [{name: app-1, $patch: delete}, {name: istio-proxy, volumeMounts: [{mountPath: /var/run/secrets/istio/crl, $patch: delete}]}]`,
	}
}

// TestComposeTwice is TestInjectTwice for pods that templates have a say in.
func TestComposeTwice(t *testing.T) {
	settings := settingsOf(t, testCase{
		Config: map[string]any{"templates": texts(), "aliases": map[string]any{"most": []any{"sidecar", "everyone", "fields"}}},
		Values: json.RawMessage(`{"global":{"imagePullSecrets":["mesh"],"network":"n1"}}`),
	})
	choices := []string{
		"sidecar,helpers", "sidecar,everyone", "sidecar,proxy", "sidecar,fields", "gateway,fields,proxy", "most,helpers,spire",
		"sidecar,spire", "sidecar,remove", "helpers,everyone", "grpc-agent", "grpc-simple", "grpc-agent,helpers", "fields,remove",
		"everyone,sidecar,helpers,proxy,fields", "remove,sidecar,helpers,fields",
	}
	injected := 0
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 13))
		request := Request{Pod: randomPod(r), Namespace: "shop", Native: r.IntN(2) == 0}
		request.Pod.Annotations["inject.istio.io/templates"] = choices[r.IntN(len(choices))]
		if result := checkedInject(t, settings, request); result.Pod != nil {
			injected++
		}
		if t.Failed() {
			t.Fatalf("seed %d, native %v, pod:\n%s", seed, request.Native, marshal(t, request.Pod))
		}
	}
	if injected < 1800 {
		t.Errorf("only %d of 3000 pods were injected: the generator makes too many bad ones", injected)
	}
}

// FuzzCompose: whatever a template says, there is a pod or a reason, and the patch leads
// to the pod.
func FuzzCompose(f *testing.F) {
	for _, text := range texts() {
		s, ok := text.(string)
		if !ok {
			f.Fatal("a template is no text")
		}
		f.Add(s, true)
	}
	f.Add("spec: {containers: [{$patch: replace}, {name: a}], volumes: [1], initContainers: {}}", false)
	f.Add("spec: {containers: [{name: istio-proxy, env: null, $patch: delete}]}", true)
	f.Add("metadata: {labels: [], annotations: 1}\nspec: []", true)
	f.Add("spec: {$setElementOrder/containers: [{name: x}], $retainKeys: [containers]}", true)
	f.Add("spec: {initContainers: [{name: {}}]}", true)
	f.Add("{metadata: {name: x, ownerReferences: [{uid: 1}]}, spec: {containers: [{name: istio-init, securityContext: null}]}}", false)
	f.Fuzz(func(t *testing.T, text string, native bool) {
		config, err := json.Marshal(map[string]any{"templates": map[string]string{"custom": text}, "defaultTemplates": []string{"sidecar", "custom"}})
		if err != nil {
			return
		}
		settings, err := NewSettings(Source{Config: string(config), Tag: "1.0.0"})
		if err != nil {
			return
		}
		pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "a"}}}}
		result := Inject(settings, Request{Pod: pod, Namespace: "shop", Native: native})
		if result.Pod == nil {
			if !problem.AnyFatal(result.Problems) {
				t.Error("neither a pod nor a reason")
			}
			return
		}
		checkPatch(t, settings, pod, reread(t, result.Pod), new(patch.Writer).Composed)
	})
}

// BenchmarkInjectTemplate is BenchmarkInject with one template of the user's over the
// sidecar, and with none asked for while the mesh has some.
func BenchmarkInjectTemplate(b *testing.B) {
	body, err := os.ReadFile("testdata/review.json")
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct{ name, config string }{
		{"none", "templates: {custom: 'spec: {containers: [{name: istio-proxy, env: [{name: A, value: b}]}]}'}"},
		{"one", "templates: {custom: 'spec: {containers: [{name: istio-proxy, env: [{name: A, value: b}]}]}'}\ndefaultTemplates: [sidecar, custom]"},
		{"spire", "defaultTemplates: [sidecar, spire]"},
	} {
		b.Run(c.name, func(b *testing.B) {
			settings, err := NewSettings(Source{Config: c.config, Tag: "1.0.0"})
			if err != nil {
				b.Fatal(err)
			}
			h := testHandler(b)
			h.state.settings.Store(settings)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := answerBytes(h, body, "/inject"); err != nil {
					b.Fatal(err)
				}
			}
			if count(h.metrics.success.WithLabelValues("PolicyEnabled")) != float64(b.N) {
				b.Fatal("not every pod was injected")
			}
		})
	}
}
