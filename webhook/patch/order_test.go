package patch

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// TestPatchMoves: elements that change their place are moved, with what belongs to them,
// those of the user only where it cannot be helped.
func TestPatchMoves(t *testing.T) {
	tests := []struct{ from, to, steps string }{
		{"a b c", "a b c", ""},
		{"p a b c", "a b c p", "move"},
		{"a b c p", "p a b c", "move"},
		{"a i", "i p a", "move add"},
		{"i a", "i p a", "add"},
		{"a b c d", "d c b a", "move move move move move"},
		{"x a y b", "b a", "remove remove move"},
		{"a a", "a", "replace"},
	}
	for _, tt := range tests {
		patch := patchOfNames(t, strings.Fields(tt.from), strings.Fields(tt.to))
		var steps []struct{ Op string }
		if err := json.Unmarshal(patch, &steps); err != nil {
			t.Fatal(err)
		}
		var ops []string
		for _, s := range steps {
			ops = append(ops, s.Op)
		}
		if got := strings.Join(ops, " "); got != tt.steps {
			t.Errorf("%s → %s: %s; want %s", tt.from, tt.to, got, tt.steps)
		}
	}
}

// TestPatchAnyOrder is TestPatchMoves for lists by chance, long ones too.
func TestPatchAnyOrder(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 17))
		alphabet := make([]string, 2+r.IntN(40))
		for i := range alphabet {
			alphabet[i] = string(rune('A' + i))
		}
		list := func() []string {
			r.Shuffle(len(alphabet), func(i, j int) { alphabet[i], alphabet[j] = alphabet[j], alphabet[i] })
			return slices.Clone(alphabet[:r.IntN(len(alphabet)+1)])
		}
		patchOfNames(t, list(), list())
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// patchOfNames makes and checks the patch between lists of containers of these names.
func patchOfNames(t *testing.T, from, to []string) []byte {
	t.Helper()
	pod := func(names []string) *corev1.Pod {
		out := &corev1.Pod{}
		for _, name := range names {
			out.Spec.Containers = append(out.Spec.Containers, corev1.Container{Name: name, Image: "of-" + name})
		}
		return out
	}
	patch, err := new(Writer).Native(pod(from), pod(to), Fragments{})
	if err != nil {
		t.Fatal(err)
	}
	if patch == nil {
		patch = []byte("[]")
	}
	decoded, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := decoded.Apply(encoded(t, pod(from)))
	if err != nil {
		t.Fatalf("%v → %v: apply %s: %v", from, to, patch, err)
	}
	got := &corev1.Pod{}
	if err := json.Unmarshal(raw, got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(pod(to), got); diff != "" {
		t.Errorf("%v → %v: %s gives another list (-want +got):\n%s", from, to, patch, diff)
	}
	return patch
}

func encoded(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
