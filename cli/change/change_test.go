package change

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/cli/terminal"
	"github.com/sluicemesh/sluice/internal/golden"
)

// TestGolden: the changes between two trees, for people and in full, and as scripts read them.
func TestGolden(t *testing.T) {
	golden.Run(t, "testdata", "yaml", "txt", func(t *testing.T, in []byte) []byte {
		var c struct{ Before, After map[string]any }
		if err := yaml.UnmarshalStrict(in, &c); err != nil {
			t.Fatal(err)
		}
		changes := Diff(c.Before, c.After)
		var out bytes.Buffer
		Writer{Out: &out}.Write("In short", changes)
		Writer{Out: &out, Full: true}.Write("In full", changes)
		for _, c := range changes {
			line, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			out.Write(append(line, '\n'))
		}
		return out.Bytes()
	})
}

func TestColours(t *testing.T) {
	var out bytes.Buffer
	paint, err := terminal.NewPaint(terminal.ColorAlways, &out, true)
	if err != nil {
		t.Fatal(err)
	}
	Writer{Out: &out, Paint: paint}.Write("Pod a", Diff(
		map[string]any{"spec": map[string]any{"nodeName": "a"}}, map[string]any{"spec": map[string]any{"nodeName": "b"}},
	))
	want := "\x1b[1mPod a\x1b[0m\n  \x1b[33m~\x1b[0m spec.nodeName: \x1b[31ma\x1b[0m → \x1b[32mb\x1b[0m\n"
	if !strings.HasPrefix(out.String(), want) {
		t.Errorf("wrote %q; want %q", out.String(), want)
	}
}

// TestNone: equal trees, and defaults written out, are no difference.
func TestNone(t *testing.T) {
	before := map[string]any{"spec": map[string]any{"dnsPolicy": "ClusterFirst", "nodeName": "a"}}
	after := map[string]any{"spec": map[string]any{"nodeName": "a"}}
	// Elements without names are compared as a whole.
	item := func(field map[string]any) map[string]any {
		return map[string]any{"spec": map[string]any{"items": []any{map[string]any{"fieldRef": field, "path": "labels"}}}}
	}
	bare, full := item(map[string]any{"fieldPath": "a"}), item(map[string]any{"fieldPath": "a", "apiVersion": "v1"})
	for _, pair := range [][2]map[string]any{{before, before}, {before, after}, {after, before}, {bare, full}, {full, bare}} {
		if got := Diff(pair[0], pair[1]); len(got) > 0 {
			t.Errorf("Diff(%v, %v) = %v; want none", pair[0], pair[1], got)
		}
	}
}
