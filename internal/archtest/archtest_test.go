// Package archtest holds the rules about the shape of the code as tests: which package may
// import which, which packages are pure, that every package says what it is for, and how
// large things may grow. A change to a table here is a change of design and needs an ADR.
package archtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sluicemesh/sluice/"

// allowed maps a folder to the folders of this module that its packages may import. The
// longest matching entry holds. A folder may always import what lies below itself, and
// internal/* unless the entry is in internal itself.
var allowed = map[string][]string{
	"cmd":           {"webhook", "initcontainer", "agent", "xds", "cli"},
	"webhook":       {},
	"initcontainer": {},
	"agent":         {},
	"cli":           {"manifests", "webhook/policy", "webhook/params", "webhook/render", "webhook/template", "webhook"},
	// What a packet would do without a pod is asked of the init container's own plan (ADR 18).
	"cli/intercept": {"cli", "initcontainer"},
	"manifests":     {},
	"samples":       {},
	"e2e":           {"manifests", "cli"},
	"docs":          {"agent/command", "cli", "webhook/policy", "initcontainer"}, // the reference pages quote help, decisions and rules
	"bench":         {"webhook", "initcontainer", "agent", "xds", "e2e"},
	"internal":      {"internal/problem", "internal/ports", "internal/identity", "internal/suggest", "internal/meta"},

	"xds":              {"xds"},
	"xds/ir":           {},
	"xds/names":        {},
	"xds/incr":         {},
	"xds/class":        {"xds/ir"},
	"xds/api":          {"xds/ir"},
	"xds/link":         {"xds/ir"},
	"xds/view":         {"xds/ir", "xds/class", "xds/link", "xds/names", "xds/envoy/cluster", "xds/envoy/listener"},
	"xds/envoy":        {"xds/ir", "xds/names", "xds/class"},
	"xds/source":       {"xds/api", "xds/ir", "xds/incr"},
	"xds/compile":      {"xds/api", "xds/ir", "xds/link", "xds/view", "xds/envoy", "xds/class", "xds/incr", "xds/names"},
	"xds/serve":        {"xds/class", "xds/envoy"},
	"xds/debug":        {"xds/serve", "xds/compile", "xds/class", "xds/envoy"},
	"xds/auth":         {},
	"xds/ca":           {},
	"internal/capture": {"internal/problem", "internal/ports", "internal/meta"},
}

// pure lists the folders whose packages compute and do nothing else.
var pure = []string{
	"webhook/policy", "webhook/params", "webhook/render", "webhook/template", "webhook/multus", "webhook/patch",
	"initcontainer/rule", "initcontainer/plan", "initcontainer/packet", "initcontainer/intent", "initcontainer/model",
	"agent/bootstrap",
	"xds/api", "xds/ir", "xds/link", "xds/view", "xds/names", "xds/class", "xds/envoy", "xds/incr",
	"internal/problem", "internal/ports", "internal/capture", "internal/nodemeta", "internal/identity", "internal/routetable", "internal/nametable", "internal/suggest", "internal/proxystats",
}

// impure are imports that a pure package must not have, with the reason.
var impure = map[string]string{
	"context":      "nothing here blocks",
	"os":           "no environment, no files",
	"os/exec":      "no programs",
	"net/http":     "no network",
	"log":          "no logging",
	"log/slog":     "no logging",
	"sync":         "no shared state",
	"math/rand/v2": "no randomness: it comes in as a parameter",
}

// Budgets of style; the hard limits.
const (
	maxFunctionLines = 100
	maxFileLines     = 500
	maxParameters    = 5
)

type pkg struct {
	ImportPath, Dir, Doc, Name string
	GoFiles, Imports           []string
}

// packages lists every package of the module, without tests.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Name,GoFiles,Imports", "./...")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 {
			list = append(list, p)
		}
	}
}

func folder(p pkg) string { return strings.TrimPrefix(p.ImportPath, module) }

// under reports whether path is dir or below it.
func under(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// rule finds the entry of the table that holds for a package.
func rule(path string) (entry string, ok bool) {
	for dir := range allowed {
		if under(path, dir) && len(dir) >= len(entry) {
			entry, ok = dir, true
		}
	}
	return entry, ok
}

func mayImport(from, to string) error {
	entry, ok := rule(from)
	if !ok {
		return fmt.Errorf("%s is in no folder of the table", from)
	}
	if under(to, entry) || (under(to, "internal") && !under(from, "internal")) {
		return nil
	}
	for _, dir := range allowed[entry] {
		if under(to, dir) {
			return nil
		}
	}
	return fmt.Errorf("%s imports %s; %s may import %v and internal", from, to, entry, allowed[entry])
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		for _, imp := range p.Imports {
			if to, ours := strings.CutPrefix(imp, module); ours {
				if err := mayImport(folder(p), to); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

func TestImportRuleBites(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"webhook", "xds/ca", false},
		{"agent/relay", "xds/envoy", false},
		{"xds/ir", "xds/envoy", false},
		{"xds/envoy/route", "xds/ir", true},
		{"webhook/render", "internal/capture", true},
		{"internal/capture", "webhook", false},
		{"nowhere", "internal/ports", false},
	} {
		if err := mayImport(c.from, c.to); (err == nil) != c.ok {
			t.Errorf("mayImport(%s, %s) = %v", c.from, c.to, err)
		}
	}
}

func TestPurity(t *testing.T) {
	for _, p := range packages(t) {
		if !slices.ContainsFunc(pure, func(dir string) bool { return under(folder(p), dir) }) {
			continue
		}
		for _, imp := range p.Imports {
			if why, bad := impure[imp]; bad {
				t.Errorf("%s is pure and imports %s: %s", folder(p), imp, why)
			}
		}
		for _, name := range p.GoFiles {
			checkPureFile(t, filepath.Join(p.Dir, name))
		}
	}
}

// checkPureFile looks for what purity forbids and imports do not show.
func checkPureFile(t *testing.T, file string) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			t.Errorf("%s: a pure package starts a goroutine", fset.Position(n.Pos()))
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && (n.Sel.Name == "Now" || n.Sel.Name == "Since") {
				t.Errorf("%s: a pure package reads the clock", fset.Position(n.Pos()))
			}
		}
		return true
	})
}

func TestPackageDocs(t *testing.T) {
	for _, p := range packages(t) {
		if strings.TrimSpace(p.Doc) == "" {
			t.Errorf("%s has no package comment: say what it does, what it must not do, where data comes from and goes", folder(p))
		}
	}
}

func TestBudgets(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			checkBudget(t, filepath.Join(p.Dir, name))
		}
	}
}

func checkBudget(t *testing.T, file string) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	if ast.IsGenerated(f) {
		return
	}
	if lines := fset.File(f.Pos()).LineCount(); lines > maxFileLines {
		t.Errorf("%s has %d lines, at most %d: split it by concept", file, lines, maxFileLines)
	}
	for _, decl := range f.Decls {
		if d, ok := decl.(*ast.FuncDecl); ok {
			checkFunction(t, fset, d)
		}
	}
}

func checkFunction(t *testing.T, fset *token.FileSet, d *ast.FuncDecl) {
	pos := fset.Position(d.Pos())
	if d.Recv == nil && d.Name.Name == "init" {
		t.Errorf("%s: init function: wire things where they are used", pos)
	}
	if lines := fset.Position(d.End()).Line - pos.Line + 1; lines > maxFunctionLines {
		t.Errorf("%s: %s has %d lines, at most %d", pos, d.Name.Name, lines, maxFunctionLines)
	}
	if n := d.Type.Params.NumFields(); n > maxParameters {
		t.Errorf("%s: %s has %d parameters, at most %d: use a struct with named fields", pos, d.Name.Name, n, maxParameters)
	}
}

// TestTopLevel holds the fixed top level of the repository.
func TestTopLevel(t *testing.T) {
	want := []string{"agent", "bench", "cli", "cmd", "docs", "e2e", "initcontainer", "internal", "manifests", "samples", "webhook", "xds"}
	entries, err := os.ReadDir(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && e.Name() != "out" && e.Name() != "bin" && !slices.Contains(want, e.Name()) {
			t.Errorf("unexpected top-level folder %s", e.Name())
		}
	}
}
