package meta_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/sluicemesh/sluice/internal/meta"
)

// TestAllIsComplete reads the constants of meta.go and finds each in the tables.
func TestAllIsComplete(t *testing.T) {
	listed := map[string]bool{}
	for _, n := range meta.All() {
		listed[n.Name] = true
		if n.Doc == "" || !strings.HasSuffix(n.Doc, ".") {
			t.Errorf("%s: doc %q is not a sentence", n.Name, n.Doc)
		}
		if n.On == "" || n.Values == "" {
			t.Errorf("%s: no object or no values", n.Name)
		}
	}
	// Read as hints or used as plain names of containers, not settings of Sluice.
	foreign := map[string]bool{
		meta.AppName: true, meta.AppVersion: true, meta.App: true, meta.Version: true,
		meta.PodTemplateHash: true, meta.RolloutsPodTemplateHash: true, meta.DeploymentConfig: true,
		meta.ProxyContainer: true, meta.InitContainer: true, meta.ValidationContainer: true,
	}
	file, err := parser.ParseFile(token.NewFileSet(), "meta.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		name, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		if !listed[name] && !foreign[name] {
			t.Errorf("%q is a constant but not in All", name)
		}
		return true
	})
}

func TestNoDuplicates(t *testing.T) {
	seen := map[string]bool{}
	for _, n := range meta.All() {
		key := string(n.Kind) + " " + n.Name
		if seen[key] {
			t.Errorf("%s is listed twice", key)
		}
		seen[key] = true
	}
}

func TestOwned(t *testing.T) {
	for key, want := range map[string]bool{
		"sidecar.istio.io/nonsense":         true,
		"traffic.sidecar.istio.io/x":        true,
		"readiness.status.sidecar.istio.io": false,
		"example.com/sidecar.istio.io/x":    false,
		"prometheus.io/port":                false,
	} {
		if got := meta.Owned(key); got != want {
			t.Errorf("Owned(%q) = %v; want %v", key, got, want)
		}
	}
}
