package webhook

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/meta"
)

// TestPatchOfRawReview: the patch of a review, applied to the very bytes that were sent,
// gives the injected pod; and what is in these bytes that the pod's type does not have
// stays where it was. Members that another version of Kubernetes leaves out are left out.
func TestPatchOfRawReview(t *testing.T) {
	h := testHandler(t)
	patched := 0
	for seed := range uint64(800) {
		r := rand.New(rand.NewPCG(seed, 13))
		pod := randomPod(r)
		var object map[string]any
		if err := json.Unmarshal(encoded(t, pod), &object); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{}
		foreign(r, "", object, want)
		sent := encoded(t, object)
		result := Inject(h.state.settings.Load(), Request{Pod: pod, Namespace: "shop", Native: h.state.native.supported("")})
		response := answered(t, h, sent)
		if result.Pod == nil {
			if response.Patch != nil {
				t.Fatalf("seed %d: a pod that is not injected has a patch", seed)
			}
			continue
		}
		patched++
		checkRaw(t, sent, response.Patch, result.Pod, want)
		if t.Failed() {
			t.Fatalf("seed %d, sent %s", seed, sent)
		}
	}
	if patched < 500 {
		t.Errorf("only %d of 800 pods were injected", patched)
	}
}

// foreign puts members into an object that the pod's type does not know, takes out empty
// ones, and notes where it put what has to survive.
func foreign(r *rand.Rand, path string, object, want map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		value := object[key]
		if m, ok := value.(map[string]any); ok && len(m) == 0 && key == "resources" && r.IntN(2) == 0 {
			delete(object, key)
			continue
		}
		if path == "" && key == "status" {
			delete(object, key)
			continue
		}
		switch m := value.(type) {
		case map[string]any:
			if path == "" {
				foreign(r, path+"/"+key, m, want)
			}
		case []any:
			if path != "/spec" {
				continue
			}
			for _, e := range m {
				element := e.(map[string]any)
				element["foreign"] = map[string]any{"of": element["name"]}
				// The user's own proxy is merged into the injected one and may move.
				if name := element["name"].(string); name != meta.ProxyContainer && name != meta.InitContainer {
					want[path+"/"+key+"/"+name] = element["foreign"]
				}
			}
		}
	}
	if path == "" || r.IntN(2) == 0 {
		object["foreign"] = []any{path, map[string]any{"<&>": nil}}
		want[path] = object["foreign"]
	}
}

// survived collects what foreign noted, from a patched pod.
func survived(pod map[string]any) map[string]any {
	got := map[string]any{}
	note := func(path string, object map[string]any) {
		if v, ok := object["foreign"]; ok {
			got[path] = v
		}
	}
	note("", pod)
	note("/metadata", pod["metadata"].(map[string]any))
	spec := pod["spec"].(map[string]any)
	note("/spec", spec)
	for _, key := range []string{"containers", "initContainers", "volumes", "imagePullSecrets"} {
		list, _ := spec[key].([]any)
		for _, e := range list {
			element := e.(map[string]any)
			if name := element["name"].(string); name != meta.ProxyContainer && name != meta.InitContainer {
				note(fmt.Sprintf("/spec/%s/%s", key, name), element)
			}
		}
	}
	return got
}

// answered is the response to a review of the object.
func answered(t *testing.T, h *handler, object []byte) *admissionv1.AdmissionResponse {
	t.Helper()
	body := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u1","namespace":"shop","object":` + string(object) + `}}`
	return readReview(t, post(t, h, "/inject", jsonType, body)).Response
}

func checkRaw(t *testing.T, sent, patch []byte, injected *corev1.Pod, want map[string]any) {
	t.Helper()
	if patch == nil {
		patch = []byte("[]")
	}
	decoded, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := decoded.Apply(sent)
	if err != nil {
		t.Fatalf("apply %s: %v", patch, err)
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(raw, pod); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(marshal(t, injected), marshal(t, pod)); diff != "" {
		t.Errorf("the patched bytes are not the injected pod (-want +got):\n%s", diff)
	}
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, survived(object)); diff != "" {
		t.Errorf("foreign members differ (-sent +patched):\n%s", diff)
	}
}
