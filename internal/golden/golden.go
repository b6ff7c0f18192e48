// Package golden compares what a test produced with literal files beside it.
//
// A case is a pair testdata/<dir>/<name>.in.<ext> and <name>.out.<ext>. With
// UPDATE_GOLDEN=1 the expected files are rewritten instead of compared. Output files
// that no case uses fail the test, so that none goes stale. Only tests import it.
package golden

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Update reports whether expected files are rewritten in this run.
func Update() bool { return os.Getenv("UPDATE_GOLDEN") == "1" }

// Run runs fn as a subtest for each input dir/*.in.<inExt> and compares its result with
// dir/*.out.<outExt>. It fails when dir has no input, and for each output without input.
func Run(t *testing.T, dir, inExt, outExt string, fn func(t *testing.T, in []byte) []byte) {
	t.Helper()
	ins, err := filepath.Glob(filepath.Join(dir, "*.in."+inExt))
	if err != nil || len(ins) == 0 {
		t.Fatalf("no golden inputs %s/*.in.%s (%v)", dir, inExt, err)
	}
	used := map[string]bool{}
	for _, in := range ins {
		name := strings.TrimSuffix(filepath.Base(in), ".in."+inExt)
		out := filepath.Join(dir, name+".out."+outExt)
		used[out] = true
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(in)
			if err != nil {
				t.Fatal(err)
			}
			Compare(t, out, fn(t, data))
		})
	}
	outs, err := filepath.Glob(filepath.Join(dir, "*.out."+outExt))
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range outs {
		if !used[out] {
			t.Errorf("golden file %s has no input: delete it", out)
		}
	}
}

// Compare fails t with a diff when file does not hold exactly got, or, in an update run,
// writes got to file.
func Compare(t *testing.T, file string, got []byte) {
	t.Helper()
	if Update() {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("read expected output (UPDATE_GOLDEN=1 writes it): %v", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got; UPDATE_GOLDEN=1 rewrites it):\n%s", file, diff)
	}
}
