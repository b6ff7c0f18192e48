// Package template runs the text templates that users, and the mesh itself, describe pods
// with: Go templates in Istio's form whose output is a strategic merge patch of a Pod.
//
// Compile reads them once, when the configuration is loaded; Render gives the patch of one
// template for one pod. The package is pure: a template sees its Data and nothing else, no
// clock, no chance, no environment, so that the same pod gets the same patch everywhere and
// every time. What it is given it may not change: Render hands out copies. Laying patches
// over a pod is the business of package render, choosing templates that of params.
package template

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"text/template"
	"text/template/parse"
)

// Config is what a Set is made of.
type Config struct {
	// Texts are the user's templates by name. One of the name of a built-in one takes its place.
	Texts map[string]string
	// Environment is what the function env answers from: the control plane's own variables
	// as the chart's values name them.
	Environment map[string]string
}

// Set holds compiled templates. It is not modified after Compile and safe for concurrent use.
type Set struct {
	templates map[string]*template.Template
}

// Compile parses the built-in templates and the user's over them. The error joins the
// mistakes of all of them; each is an *Error with the template's name and line.
func Compile(c Config) (*Set, error) {
	texts := builtin()
	maps.Copy(texts, c.Texts)
	s := &Set{templates: make(map[string]*template.Template, len(texts))}
	funcs := functions(c.Environment)
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		t, err := compile(name, texts[name], funcs)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.templates[name] = t
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return s, nil
}

// Names lists the templates in order.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.templates)) }

func compile(name, text string, funcs template.FuncMap) (*template.Template, error) {
	// A nameless template would be told from no template at all by nobody.
	if name == "" {
		return nil, &Error{Template: name, Message: "a template has no name"}
	}
	if len(text) > maxBytes {
		return nil, &Error{Template: name, Message: fmt.Sprintf("the text is larger than %d bytes", maxBytes)}
	}
	t, err := template.New(name).Funcs(funcs).Parse(text)
	if err != nil {
		return nil, located(name, err)
	}
	for _, part := range t.Templates() {
		if part.Tree != nil {
			countSteps(part.Root)
		}
	}
	return t, nil
}

// countSteps puts an empty text at the beginning of each body that may run more than once.
// Running it calls the output's Write with no bytes, which is how meter counts the steps of
// loops and recursions that print nothing.
func countSteps(list *parse.ListNode) {
	if list == nil {
		return
	}
	list.Nodes = slices.Insert(list.Nodes, 0, parse.Node(&parse.TextNode{NodeType: parse.NodeText}))
	for _, node := range list.Nodes {
		switch n := node.(type) {
		case *parse.IfNode:
			countSteps(n.List)
			countSteps(n.ElseList)
		case *parse.WithNode:
			countSteps(n.List)
			countSteps(n.ElseList)
		case *parse.RangeNode:
			countSteps(n.List)
			countSteps(n.ElseList)
		}
	}
}
