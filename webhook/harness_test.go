package webhook

import (
	"bytes"
	"encoding/json"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	networkingv1beta1 "istio.io/client-go/pkg/apis/networking/v1beta1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/internal/golden"
	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/webhook/params"
	"github.com/sluicemesh/sluice/webhook/patch"
)

// testCase is one golden input.
type testCase struct {
	Mesh      map[string]any  `json:"mesh"`
	Values    json.RawMessage `json:"values"`
	Config    map[string]any  `json:"config"`
	Revision  string          `json:"revision"`
	Native    bool            `json:"native"`
	Namespace string          `json:"namespace"`
	Path      string          `json:"path"`
	Platform  string          `json:"platform"`
	// NamespaceAnnotations are those of the pod's namespace.
	NamespaceAnnotations map[string]string `json:"namespaceAnnotations"`
	Pod                  *corev1.Pod       `json:"pod"`

	ProxyConfigs []*networkingv1beta1.ProxyConfig `json:"proxyConfigs"`
	// Changes asks for what the pod's annotations and the ProxyConfigs change, instead of the
	// whole pod.
	Changes bool `json:"changes"`
}

// testOutput is one golden output.
type testOutput struct {
	Reason   string      `json:"reason"`
	Refused  bool        `json:"refused,omitempty"`
	Problems []string    `json:"problems,omitempty"`
	Pod      *corev1.Pod `json:"pod,omitempty"`
	Changes  []string    `json:"changes,omitempty"`
}

func settingsOf(t *testing.T, c testCase) *Settings {
	t.Helper()
	text := func(m map[string]any) string {
		if m == nil {
			return ""
		}
		data, err := yaml.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	src := Source{Mesh: text(c.Mesh), Values: string(c.Values), Config: text(c.Config), Tag: "1.0.0"}
	src.Install = Config{Revision: c.Revision, Platform: c.Platform}.withDefaults().install()
	s, err := NewSettings(src)
	if err != nil {
		t.Fatal(err)
	}
	var problems []problem.Problem
	s.ProxyConfigs, problems = params.IndexProxyConfigs(c.ProxyConfigs, s.Defaults.Mesh.RootNamespace)
	if len(problems) > 0 {
		t.Fatal(problem.Join(problems))
	}
	return s
}

func (c testCase) request() Request {
	return Request{
		Pod: c.Pod, Namespace: c.Namespace, NamespaceAnnotations: c.NamespaceAnnotations,
		Native: c.Native, Path: ParsePath(c.Path),
	}
}

func readCase(t *testing.T, data []byte) testCase {
	t.Helper()
	var c testCase
	if err := yaml.UnmarshalStrict(data, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestInjectGolden(t *testing.T) {
	golden.Run(t, "testdata/inject", "yaml", "yaml", func(t *testing.T, in []byte) []byte {
		c := readCase(t, in)
		settings := settingsOf(t, c)
		result := checkedInject(t, settings, c.request())
		out := testOutput{Reason: string(result.Decision.Reason), Refused: problem.AnyFatal(result.Problems), Pod: result.Pod}
		for _, p := range result.Problems {
			out.Problems = append(out.Problems, p.String())
		}
		if c.Changes && result.Pod != nil {
			out.Pod, out.Changes = nil, changesOf(t, c, result.Pod)
		}
		data, err := yaml.Marshal(out)
		if err != nil {
			t.Fatal(err)
		}
		return data
	})
}

// checkedInject injects and checks what holds for every pod: the input is not modified,
// the patch turns the input into the output, and a second injection changes nothing.
func checkedInject(t *testing.T, s *Settings, r Request) Result {
	t.Helper()
	before := r.Pod.DeepCopy()
	result := Inject(s, r)
	if diff := cmp.Diff(marshal(t, before), marshal(t, r.Pod)); diff != "" {
		t.Errorf("the input was modified:\n%s", diff)
	}
	if result.Pod == nil {
		return result
	}
	if len(result.Pod.Spec.Containers) == 0 {
		t.Error("the pod has no containers left")
	}
	create := new(patch.Writer).Native
	if result.Composed {
		create = new(patch.Writer).Composed
	}
	checkPatch(t, s, r.Pod, result.Pod, create)

	again := r
	again.Pod = reread(t, result.Pod)
	second := Inject(s, again)
	if second.Pod == nil {
		t.Fatalf("the injected pod is not injected again: %s %s", second.Decision.Reason, problem.Join(second.Problems))
	}
	if diff := cmp.Diff(marshal(t, result.Pod), marshal(t, second.Pod)); diff != "" {
		t.Errorf("second injection changes the pod (-first +second):\n%s", diff)
	}
	patch, err := create(again.Pod, second.Pod, s.known)
	if err != nil || patch != nil {
		t.Errorf("patch of the second injection = %s, %v; want none", patch, err)
	}
	return result
}

// creator makes a patch.
type creator func(from, to *corev1.Pod, known patch.Fragments) ([]byte, error)

// checkPatch applies the patch with another library and compares; with and without the
// parts that are encoded in advance it has to be the same one.
func checkPatch(t *testing.T, s *Settings, from, to *corev1.Pod, create creator) {
	t.Helper()
	patch, err := create(from, to, patch.Fragments{})
	if err != nil {
		t.Fatal(err)
	}
	patch = bytes.Clone(patch) // create has one memory
	if quick, err := create(from, to, s.known); err != nil || !bytes.Equal(quick, patch) {
		t.Errorf("with fragments the patch is %s (error %v); without them %s", quick, err, patch)
	}
	if patch == nil {
		patch = []byte("[]")
	}
	decoded, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatalf("patch %s: %v", patch, err)
	}
	got, err := decoded.Apply([]byte(marshal(t, from)))
	if err != nil {
		t.Fatalf("apply %s: %v", patch, err)
	}
	var pod corev1.Pod
	if err := json.Unmarshal(got, &pod); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(marshal(t, to), marshal(t, &pod)); diff != "" {
		t.Errorf("the patch does not lead to the injected pod (-want +got):\n%s", diff)
	}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// reread is the pod as the API server would send it again.
func reread(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	out := &corev1.Pod{}
	if err := json.Unmarshal([]byte(marshal(t, pod)), out); err != nil {
		t.Fatal(err)
	}
	return out
}
