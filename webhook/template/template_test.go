package template

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	corev1 "k8s.io/api/core/v1"
)

func TestCompileNamesEachMistake(t *testing.T) {
	_, err := Compile(Config{Texts: map[string]string{
		"one": "a: 1\n{{ nothing }}", "two": "{{ if }}", "three: 3": "a: 1\nb: 2\n{{ end }}", "": "a: 1", "fine": "{{ .Revision }}",
		"large": strings.Repeat("a", maxBytes+1),
	}})
	want := strings.Join([]string{
		"template : a template has no name",
		"template large: the text is larger than 1048576 bytes",
		`template one, line 2: function "nothing" not defined`,
		"template three: 3, line 3: unexpected {{end}}",
		"template two, line 1: missing value for if",
	}, "\n")
	if err == nil || err.Error() != want {
		t.Errorf("error:\n%v\nwant:\n%s", err, want)
	}
}

// TestForeignTemplatesParse: a ConfigMap of Istio's also holds templates for gateways and
// waypoints, which no pod asks for; they need functions only.
func TestForeignTemplatesParse(t *testing.T) {
	s, err := Compile(Config{Texts: map[string]string{
		"waypoint": `{{- define "labels" }}
    {{- toJsonMap (strdict "gateway.networking.k8s.io/gateway-name" .Name) .InfrastructureLabels | nindent 4 }}
{{- end }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .ServiceAccount | quote }}
  annotations:
    {{- toJsonMap (omit .InfrastructureAnnotations "kubectl.kubernetes.io/last-applied-configuration") | nindent 4 }}
  labels: {{ template "labels" . }}
---
spec:
  {{- if .Values.global.waypoint.affinity }}
  affinity:
  {{- toYaml .Values.global.waypoint.affinity | nindent 6 }}
  {{- end }}
  {{- range $key, $val := mergeMaps .A .B }}{{ $key }}{{ end }}
  ports: {{ range $p := .Ports }}{{ $p.Name | quote }}{{ end }}`,
	}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"grpc-agent", "grpc-simple", "spire", "waypoint"}, s.Names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestRender(t *testing.T) {
	tests := []struct {
		name, text string
		want       Patch
		warnings   []string
	}{
		{"nothing", "{{- /* for nobody */}}", nil, nil},
		{"comment", "# only a comment\n", nil, nil},
		{"numbers", "spec: {a: 1, b: 1.5, c: true, d: null, e: x}",
			Patch{"spec": map[string]any{"a": int64(1), "b": 1.5, "c": true, "d": nil, "e": "x"}}, nil},
		{"defined", `{{ define "part" }}{{ .Revision }}{{ end }}spec: {a: {{ template "part" . }}}`,
			Patch{"spec": map[string]any{"a": "default"}}, nil},
		{"missing", "spec: {a: '{{ .Values.global.absent }}'}",
			Patch{"spec": map[string]any{"a": "<no value>"}}, []string{"prints <no value>: it uses a value that does not exist"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Compile(Config{Texts: map[string]string{"t": tt.text}})
			if err != nil {
				t.Fatal(err)
			}
			got, warnings, err := s.Render("t", testData())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("patch (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.warnings, warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRenderFails(t *testing.T) {
	tests := []struct {
		name, text string
		line       int
		want       string
	}{
		{"field", "a: 1\nb: {{ .Absent }}", 2, "can't evaluate field Absent"},
		{"inside a definition", "{{ define \"x\" }}\n\n{{ fail \"no\" }}{{ end }}\n{{ template \"x\" }}", 3, "no"},
		{"nil map", "{{ .Values.global.nothing.b }}", 1, "nil pointer evaluating"},
		{"panic", "{{ index .Spec.Containers 9 }}", 1, "index out of range"},
		{"method", "{{ .ProxyConfig.Tracing.GetZipkin.Absent }}", 1, "can't evaluate field Absent"},
		{"tab", "spec:\n\ta: 1", 0, `the output is no YAML: yaml: line 2: found character that cannot start any token, which is "\ta: 1"`},
		{"list", "- 1", 0, "the output is no object"},
		{"text", "hello", 0, "the output is no object"},
		{"two documents", "a: [1\n---\nb: 2", 0, "the output is no YAML"},
		{"large", "{{ range until 10000 }}{{ repeat 1000 `a` }}{{ end }}", 0, "the output is larger than 1048576 bytes"},
		{"long loop", "{{ range 1000000000000 }}{{ end }}", 0, "more than 20000 steps of loops"},
		{"nested loops", "{{ range 1000 }}{{ if true }}{{ range 1000 }}{{ $x := 1 }}{{ end }}{{ end }}{{ end }}", 0, "more than 20000 steps"},
		{"endless recursion", `{{ define "x" }}{{ template "x" . }}{{ end }}{{ template "x" . }}`, 0, "more than 20000 steps"},
		{"unknown", "", 0, "there is no such template"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Compile(Config{Texts: map[string]string{"t": tt.text}})
			if err != nil {
				t.Fatal(err)
			}
			name := "t"
			if tt.name == "unknown" {
				name = "absent"
			}
			got, _, err := s.Render(name, testData())
			var failed *Error
			if !errors.As(err, &failed) || failed.Template != name || failed.Line != tt.line || !strings.Contains(failed.Message, tt.want) {
				t.Errorf("Render = %v, %v; want line %d, %q", got, err, tt.line, tt.want)
			}
		})
	}
}

// TestRenderKeepsItsData: nothing that a template can call reaches what it was given.
func TestRenderKeepsItsData(t *testing.T) {
	s, err := Compile(Config{Texts: map[string]string{"t": "{{ $_ := set .Values.global `hub` `x` }}{{ $_ := unset .Values `global` }}" +
		"{{ $_ := .Spec.Unmarshal .Spec.Marshal }}{{ $_ := .ObjectMeta.Unmarshal .ObjectMeta.Marshal }}" +
		"{{ $_ := .ProxyConfig.UnmarshalJSON .MeshConfig.DefaultConfig.MarshalJSON }}{{ $_ := .MeshConfig.UnmarshalJSON .MeshConfig.DefaultConfig.MarshalJSON }}"}})
	if err != nil {
		t.Fatal(err)
	}
	data := testData()
	if _, _, err := s.Render("t", data); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(testData(), data, protocmp.Transform()); diff != "" {
		t.Errorf("the data changed (-want +got):\n%s", diff)
	}
}

// TestBuiltinTemplates: they run for the least pod there is, without a warning.
func TestBuiltinTemplates(t *testing.T) {
	s, err := Compile(Config{})
	if err != nil {
		t.Fatal(err)
	}
	data := testData()
	data.ObjectMeta.Annotations, data.ObjectMeta.Labels, data.Spec = nil, nil, &corev1.PodSpec{}
	data.Values = map[string]any{"global": map[string]any{
		"istioNamespace": "istio-system", "logging": map[string]any{"level": "default:info"}, "pilotCertProvider": "istiod",
		"multiCluster": map[string]any{}, "proxy": map[string]any{
			"readinessInitialDelaySeconds": int64(0), "readinessPeriodSeconds": int64(15), "readinessFailureThreshold": int64(4),
		},
	}}
	for _, name := range s.Names() {
		patch, warnings, err := s.Render(name, data)
		if err != nil || len(warnings) > 0 || patch["spec"] == nil {
			t.Errorf("%s: %v, warnings %v, patch %v", name, err, warnings, patch)
		}
	}
}

// FuzzRender: no text makes the engine panic or hang, and what it gives is an object.
func FuzzRender(f *testing.F) {
	for _, text := range []string{
		"", "spec: {}", "{{ range . }}{{ end }}", "{{ .Spec.Containers }}", "{{ $x := .Values }}{{ range $k, $v := $x }}{{ $k }}: {{ toJSON $v }}\n{{ end }}",
		"{{ template `x` . }}{{ define `x` }}{{ . }}{{ end }}", "{{ range until 9 }}{{ break }}{{ end }}", "{{ with .ObjectMeta }}{{ .Labels | toYaml | nindent 2 }}{{ end }}",
		"{{ toJSON . }}", "{{ printf `%1000000d` 1 }}", "{{ protoToJSON .MeshConfig }}", "{{ block `a` . }}{{ end }}", spire, grpcAgent, grpcSimple,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Compile(Config{Texts: map[string]string{"t": text}})
		if err != nil {
			return
		}
		if _, _, err := s.Render("t", testData()); err != nil {
			var failed *Error
			if !errors.As(err, &failed) {
				t.Errorf("error %v is no *Error", err)
			}
		}
	})
}
