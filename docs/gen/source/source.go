// Package source reads from the module's Go files what the reference pages list and no
// package exports: reason codes with their comments, and metrics with their help.
//
// It reads syntax only and runs nothing. It relies on how this module writes such things: a
// reason is a constant in a group whose comment speaks of reasons, or a literal in a place
// named reason; a metric is a literal of a prometheus options type, or a call of a helper
// named counter or vector.
package source

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Reason is one code.
type Reason struct {
	Code    string // UpperCamel
	Package string // folder in the module
	Doc     string // the constant's comment, or the message beside a literal; may be empty
}

// Metric is one metric.
type Metric struct {
	Name, Type, Help string
	Labels           []string
	Package          string
}

// Folder is the syntax of one package, without tests.
type Folder struct {
	Path  string
	files []*ast.File
}

// Read parses the packages of dir, a folder of the module, and below it.
func Read(module fs.FS, dir string) ([]Folder, error) {
	byPath := map[string]*Folder{}
	var order []string
	err := fs.WalkDir(module, dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := fs.ReadFile(module, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		p := path.Dir(name)
		if byPath[p] == nil {
			byPath[p] = &Folder{Path: p}
			order = append(order, p)
		}
		byPath[p].files = append(byPath[p].files, file)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dir, err)
	}
	slices.Sort(order)
	folders := make([]Folder, len(order))
	for i, p := range order {
		folders[i] = *byPath[p]
	}
	return folders, nil
}

// opening is how the comment of a lone constant begins; the table says it already.
var opening = regexp.MustCompile(`^[A-Z]\w+ is the reason (of|for) (the (problem|warning) (of|about) )?`)

var upperCamel = regexp.MustCompile(`^[A-Z][a-z]+([A-Z][a-z0-9]*)*$`)

// Reasons lists the codes of a package, sorted, each once.
func (f Folder) Reasons() []Reason {
	found := map[string]string{}
	for _, file := range f.files {
		for _, decl := range file.Decls {
			if g, ok := decl.(*ast.GenDecl); ok && g.Tok == token.CONST {
				constants(g, found)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			literal(n, found)
			return true
		})
	}
	var reasons []Reason
	for code, doc := range found {
		reasons = append(reasons, Reason{Code: code, Package: f.Path, Doc: doc})
	}
	slices.SortFunc(reasons, func(a, b Reason) int { return strings.Compare(a.Code, b.Code) })
	return reasons
}

// constants notes the codes of a group of constants that is one of reasons.
func constants(g *ast.GenDecl, found map[string]string) {
	group := speaksOfReasons(g.Doc.Text())
	for _, spec := range g.Specs {
		v, ok := spec.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			continue
		}
		typed, _ := v.Type.(*ast.Ident)
		meant := group || typed != nil && typed.Name == "Reason"
		code, ok := text(v.Values[0])
		if !ok || !meant || !upperCamel.MatchString(code) {
			continue
		}
		doc := v.Comment.Text()
		if doc == "" {
			doc = v.Doc.Text()
		}
		if doc == "" && len(g.Specs) == 1 {
			doc = g.Doc.Text()
		}
		found[code] = opening.ReplaceAllString(strings.Join(strings.Fields(doc), " "), "")
	}
}

func speaksOfReasons(doc string) bool { return strings.Contains(strings.ToLower(doc), "reason") }

// literal notes a code that is written where it is used: Reason: "X" with its Message, or
// report(path, "X", message).
func literal(n ast.Node, found map[string]string) {
	note := func(code, message ast.Expr) {
		if c, ok := text(code); ok && upperCamel.MatchString(c) && found[c] == "" {
			found[c] = sentence(message)
		}
	}
	switch n := n.(type) {
	case *ast.CompositeLit:
		fields := map[string]ast.Expr{}
		for _, e := range n.Elts {
			if kv, ok := e.(*ast.KeyValueExpr); ok {
				if key, ok := kv.Key.(*ast.Ident); ok {
					fields[key.Name] = kv.Value
				}
			}
		}
		if fields["Reason"] != nil {
			note(fields["Reason"], fields["Message"])
		}
	case *ast.CallExpr:
		if s, ok := n.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"report", "Warn", "Fatal"}, s.Sel.Name) && len(n.Args) > 2 {
			note(n.Args[1], n.Args[2])
		}
	}
}

// sentence is a message with "…" for each part that is not constant; empty if none is.
func sentence(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		parts := []string{sentence(e.X), sentence(e.Y)}
		for i, p := range parts {
			if p == "" {
				parts[i] = "…"
			}
		}
		return strings.ReplaceAll(strings.Join(parts, ""), "……", "…")
	case *ast.CallExpr:
		if len(e.Args) > 0 {
			return sentence(e.Args[0])
		}
	case *ast.BasicLit:
		s, _ := text(e)
		return s
	}
	return ""
}

// text is the value of a string literal.
func text(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}
