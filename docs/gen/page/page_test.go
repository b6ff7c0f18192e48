package page_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sluicemesh/sluice/docs/gen/page"
	"github.com/sluicemesh/sluice/internal/golden"
)

// TestPagesAreClean compares docs/reference with what the generator writes.
func TestPagesAreClean(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	pages, err := page.All(t.Context(), os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "docs", "reference")
	written := map[string]bool{}
	for _, p := range pages {
		written[p.File] = true
		golden.Compare(t, filepath.Join(dir, p.File), p.Text)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !written[f.Name()] {
			t.Errorf("docs/reference/%s is written by nothing: delete it", f.Name())
		}
	}
}
