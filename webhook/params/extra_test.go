package params

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/meshconfig"
)

// TestUserVolumes reads volumes and mounts in both forms.
func TestUserVolumes(t *testing.T) {
	empty := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	tests := map[string]struct {
		volumes, mounts string
		want            *Extra
		refused         string // words of the refusals
	}{
		"none":         {"", "", nil, ""},
		"object":       {`{"b":{"emptyDir":{}},"a":{"emptyDir":{}}}`, "", &Extra{Volumes: []corev1.Volume{{Name: "a", VolumeSource: empty}, {Name: "b", VolumeSource: empty}}}, ""},
		"list":         {` [{"name":"b","emptyDir":{}},{"name":"a","emptyDir":{}}]`, "", &Extra{Volumes: []corev1.Volume{{Name: "b", VolumeSource: empty}, {Name: "a", VolumeSource: empty}}}, ""},
		"name inside":  {`{"a":{"name":"other","emptyDir":{}}}`, "", &Extra{Volumes: []corev1.Volume{{Name: "a", VolumeSource: empty}}}, ""},
		"mounts":       {"", `{"a":{"mountPath":"/a","readOnly":true}}`, &Extra{Mounts: []corev1.VolumeMount{{Name: "a", MountPath: "/a", ReadOnly: true}}}, ""},
		"mounts twice": {"", `[{"name":"a","mountPath":"/a"},{"name":"a","mountPath":"/b"}]`, &Extra{Mounts: []corev1.VolumeMount{{Name: "a", MountPath: "/a"}, {Name: "a", MountPath: "/b"}}}, ""},
		"empty object": {"{}", "[]", nil, ""},
		"no JSON":      {"certs", "", nil, "userVolume"},
		"cut off":      {`{"a":`, "", nil, "unexpected EOF"},
		"more":         {`{} {}`, "", nil, "more than one value"},
		"unknown":      {`{"a":{"emptydirs":{}}}`, "", nil, `unknown field "emptydirs"`},
		"type":         {"", `{"a":{"mountPath":1}}`, nil, "userVolumeMount"},
		"no name":      {`[{"emptyDir":{}}]`, "", &Extra{Volumes: []corev1.Volume{{VolumeSource: empty}}}, "element 0 has no name"},
		"twice":        {`[{"name":"a"},{"name":"a"}]`, "", &Extra{Volumes: []corev1.Volume{{Name: "a"}, {Name: "a"}}}, `"a" is there twice`},
	}
	defaults := defaultsOf(t, "", Install{})
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, problems := Resolve(Input{Defaults: defaults, Pod: onePod(map[string]string{
				"sidecar.istio.io/userVolume": tt.volumes, "sidecar.istio.io/userVolumeMount": tt.mounts,
			})})
			if diff := cmp.Diff(tt.want, p.Extra); diff != "" {
				t.Errorf("extra differs (-want +got):\n%s", diff)
			}
			text := ""
			for _, p := range problems {
				text += p.String()
			}
			if (text != "") != (tt.refused != "") || !strings.Contains(text, tt.refused) {
				t.Errorf("problems %q; want %q", text, tt.refused)
			}
		})
	}
}

// TestTracerVariables: Datadog's own and OpenTelemetry's.
func TestTracerVariables(t *testing.T) {
	const provider = `extensionProviders: [{name: t, opentelemetry: {service: c.d.svc, port: 4317, serviceAttributeEnrichment: OTEL_SEMANTIC_CONVENTIONS}}]`
	uid := corev1.EnvVar{Name: "POD_UID", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.uid"}}}
	tests := map[string]struct {
		mesh, values string
		labels       map[string]string
		annotations  map[string]string
		want         []corev1.EnvVar
	}{
		"nothing":     {"", "", nil, map[string]string{"apm.datadoghq.com/env": `{"A":"1"}`, "resource.opentelemetry.io/service.version": "1"}, nil},
		"canonical":   {"extensionProviders: [{name: t, opentelemetry: {service: c.d.svc, port: 4317}}]", "", nil, nil, nil},
		"datadog":     {"", `{"global":{"proxy":{"tracer":"datadog"}}}`, nil, map[string]string{"apm.datadoghq.com/env": `{"B":"2","A":true,"C":null}`}, []corev1.EnvVar{{Name: "A", Value: "true"}, {Name: "B", Value: "2"}, {Name: "C"}}},
		"otel":        {provider, "", nil, nil, []corev1.EnvVar{uid, {Name: "OTEL_RESOURCE_ATTRIBUTES", Value: "service.namespace=$(POD_NAMESPACE),service.instance.id=$(POD_UID)"}}},
		"otel, label": {provider, "", map[string]string{"app.kubernetes.io/version": "7", "version": "8"}, nil, []corev1.EnvVar{uid, {Name: "OTEL_RESOURCE_ATTRIBUTES", Value: "service.namespace=$(POD_NAMESPACE),service.version=7,service.instance.id=$(POD_UID)"}}},
		"otel, own": {provider, "", map[string]string{"app.kubernetes.io/version": "7"}, map[string]string{
			"resource.opentelemetry.io/service.namespace": "a b", "resource.opentelemetry.io/service.version": "1,2=3%", "resource.opentelemetry.io/service.instance.id": "$(HOSTNAME)",
		}, []corev1.EnvVar{{Name: "OTEL_RESOURCE_ATTRIBUTES", Value: "service.namespace=a%20b,service.version=1%2C2%3D3%25,service.instance.id=$$(HOSTNAME)"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			mesh, _, err := meshconfig.Parse(tt.mesh)
			if err != nil {
				t.Fatal(err)
			}
			values, err := ParseValues(tt.values, "1")
			if err != nil {
				t.Fatal(err)
			}
			defaults, err := Prepare(mesh, values, Install{})
			if err != nil {
				t.Fatal(err)
			}
			pod := onePod(tt.annotations)
			pod.Labels = tt.labels
			p, problems := Resolve(Input{Pod: pod, Namespace: "shop", Defaults: defaults})
			if len(problems) > 0 {
				t.Errorf("problems: %v", problems)
			}
			var got []corev1.EnvVar
			if p.Extra != nil {
				got = p.Extra.Env
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("variables differ (-want +got):\n%s", diff)
			}
		})
	}
}
