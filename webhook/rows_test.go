package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/diff"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/internal/golden"
)

// rowsDir holds one case for each row of the specification: what it changes of the plain
// pod and its settings, and how the injected pod then differs from the injected plain pod.
const rowsDir = "testdata/rows"

// rowCase is a testCase that says what is different from the plain one.
type rowCase struct {
	testCase
	// Like names the row to show the difference from, in place of the plain pod.
	Like string `json:"like"`
	// Classic turns native sidecars off.
	Classic bool `json:"classic"`
	// Annotations are the pod's.
	Annotations map[string]string `json:"annotations"`
	// Change is a strategic merge patch to the plain pod.
	Change json.RawMessage `json:"change"`
}

// plainCase is the case that rows differ from.
func plainCase(t *testing.T) testCase {
	t.Helper()
	data, err := os.ReadFile("testdata/plain.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := testCase{Native: true, Namespace: "shop", Pod: &corev1.Pod{}}
	if err := yaml.UnmarshalStrict(data, c.Pod); err != nil {
		t.Fatal(err)
	}
	return c
}

// readRow completes a row's case; like is the row to compare with, "" for the plain pod.
func readRow(t *testing.T, data []byte) (c testCase, like string) {
	t.Helper()
	var row rowCase
	if err := yaml.UnmarshalStrict(data, &row); err != nil {
		t.Fatal(err)
	}
	plain := plainCase(t)
	c = row.testCase
	c.Native = !row.Classic
	if c.Namespace == "" {
		c.Namespace = plain.Namespace
	}
	c.Pod = plain.Pod
	if row.Change != nil {
		patched, err := strategicpatch.StrategicMergePatch([]byte(marshal(t, plain.Pod)), row.Change, corev1.Pod{})
		if err != nil {
			t.Fatal(err)
		}
		c.Pod = &corev1.Pod{}
		if err := yaml.UnmarshalStrict(patched, c.Pod); err != nil {
			t.Fatal(err)
		}
	}
	for key, value := range row.Annotations {
		if c.Pod.Annotations == nil {
			c.Pod.Annotations = map[string]string{}
		}
		c.Pod.Annotations[key] = value
	}
	return c, row.Like
}

// injectedRow is the injected pod of a row as YAML.
func injectedRow(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(rowsDir, name+".in.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c, _ := readRow(t, data)
	return asYAML(t, Inject(settingsOf(t, c), c.request()).Pod)
}

// TestRows compares each row's difference from the plain pod with the literal one.
func TestRows(t *testing.T) {
	plain := plainCase(t)
	base := asYAML(t, checkedInject(t, settingsOf(t, plain), plain.request()).Pod)
	golden.Compare(t, "testdata/plain.injected.yaml", base)
	golden.Run(t, rowsDir, "yaml", "diff", func(t *testing.T, in []byte) []byte {
		c, like := readRow(t, in)
		from, name := base, "plain"
		if like != "" {
			from, name = injectedRow(t, like), like
		}
		result := checkedInject(t, settingsOf(t, c), c.request())
		var out bytes.Buffer
		for _, p := range result.Problems {
			verdict := "warning"
			if p.Fatal {
				verdict = "refused"
			}
			fmt.Fprintf(&out, "%s: %s\n", verdict, p)
		}
		if !result.Decision.Inject {
			out.WriteString("not injected: " + string(result.Decision.Reason) + "\n")
		}
		if result.Pod != nil {
			out.Write(diff.Diff(name, from, "row", asYAML(t, result.Pod)))
		}
		return out.Bytes()
	})
}

// testGoldenPods: the API server accepts every injected pod of the golden cases.
func testGoldenPods(t *testing.T, c client.Client) {
	read := map[string]func(*testing.T, []byte) testCase{
		"testdata/inject": readCase,
		rowsDir:           func(t *testing.T, data []byte) testCase { c, _ := readRow(t, data); return c },
	}
	for dir, read := range read {
		files, err := filepath.Glob(filepath.Join(dir, "*.in.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no cases in %s: %v", dir, err)
		}
		for _, file := range files {
			t.Run(filepath.Base(file), func(t *testing.T) {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				in := read(t, data)
				pod := Inject(settingsOf(t, in), in.request()).Pod
				if pod == nil {
					return // refused or not injected, as the golden output says
				}
				pod = reread(t, pod)
				pod.Namespace = "none" // nobody injects it there again
				if pod.Name == "" && pod.GenerateName == "" {
					pod.Name = "web"
				}
				if pod.Spec.ServiceAccountName == "" {
					pod.Spec.ServiceAccountName = "default" // as the API server's own admission would
				}
				if err := c.Create(t.Context(), pod, client.DryRunAll); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func asYAML(t *testing.T, v any) []byte {
	t.Helper()
	data, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
