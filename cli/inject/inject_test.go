package inject

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/cli/document"
	"github.com/sluicemesh/sluice/cli/source"
	"github.com/sluicemesh/sluice/cli/target"
)

// TestSamePodAsTheWebhook injects every pod of the webhook's own cases from a file, as YAML
// and as JSON: what the file then holds is the pod that the webhook's function gives, and a
// second injection changes no byte.
func TestSamePodAsTheWebhook(t *testing.T) {
	files, err := filepath.Glob("../../webhook/testdata/*/*.in.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d cases of the webhook (%v)", len(files), err)
	}
	quiet := &target.Target{Err: &bytes.Buffer{}, Version: "9.9.9", IstioNamespace: "istio-system"}
	s, err := source.Open(t.Context(), quiet, source.Options{Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	injector, err := s.Injector(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := &batch{target: quiet, local: forced(injector)}
	injected := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c struct{ Pod map[string]any }
		if err := yaml.Unmarshal(data, &c); err != nil || c.Pod == nil {
			continue // a case of another form
		}
		c.Pod["apiVersion"], c.Pod["kind"] = "v1", "Pod"
		text, err := yaml.Marshal(c.Pod)
		if err != nil {
			t.Fatal(err)
		}
		asJSON, err := yaml.YAMLToJSON(text)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			for _, form := range [][]byte{text, asJSON} {
				if sameOnce(t, b, form) {
					injected++
				}
			}
		})
	}
	if injected < 20 {
		t.Errorf("only %d pods were injected: the test compares too little", injected)
	}
}

// sameOnce injects one text twice, and reports whether it was injected at all.
func sameOnce(t *testing.T, b *batch, text []byte) bool {
	t.Helper()
	b.fatal = nil
	before := single(t, text)
	want, err := b.local.Inject(t.Context(), before.Pod, "")
	if err != nil {
		t.Fatal(err)
	}
	once := throughFile(t, b, text)
	if want.Pod == nil {
		if !bytes.Equal(once, text) {
			t.Errorf("a pod that is left alone or refused changed:\n%s", cmp.Diff(string(text), string(once)))
		}
		return false
	}
	if d := cmp.Diff(tree(t, want.Pod), tree(t, single(t, once).Pod)); d != "" {
		t.Errorf("the file differs from the webhook's pod: %s", d)
	}
	if twice := throughFile(t, b, once); !bytes.Equal(once, twice) {
		t.Errorf("the second injection changes: %s", cmp.Diff(string(once), string(twice)))
	}
	return true
}

func throughFile(t *testing.T, b *batch, text []byte) []byte {
	t.Helper()
	docs, err := document.Read("x", text)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.inject(t.Context(), &input{name: "x", text: text, docs: docs}); err != nil {
		t.Fatal(err)
	}
	return document.Write(docs)
}

func single(t *testing.T, text []byte) document.Item {
	t.Helper()
	docs, err := document.Read("x", text)
	if err != nil {
		t.Fatal(err)
	}
	items, err := docs[0].Items()
	if err != nil || len(items) != 1 {
		t.Fatalf("%d items (%v) in %s", len(items), err, text)
	}
	return items[0]
}

func tree(t *testing.T, pod *corev1.Pod) map[string]any {
	t.Helper()
	out, err := document.Tree(pod)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSave(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if err := save(link, []byte("new")); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	info, statErr := os.Stat(file)
	if err != nil || statErr != nil || string(data) != "new" || info.Mode().Perm() != 0o600 {
		t.Errorf("%s holds %q (%v), mode %v (%v)", file, data, err, info.Mode(), statErr)
	}
	if err := save(filepath.Join(dir, "none", "c.yaml"), nil); err == nil || !strings.HasPrefix(err.Error(), "write "+filepath.Join(dir, "none", "c.yaml")) {
		t.Errorf("save in no folder: %v", err)
	}
	if err := save(dir, nil); err == nil {
		t.Error("save over a folder: no error")
	}
	entries, err := os.ReadDir(dir)
	if got := fmt.Sprint(len(entries)); err != nil || got != "2" {
		t.Errorf("%s entries in the folder (%v); want the file and the link", got, err)
	}
}
