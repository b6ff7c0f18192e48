// Package page writes the text of the reference pages from the code they describe: names
// from internal/meta, ports from internal/ports, decisions from webhook/policy, metrics and
// other reason codes from the source files, flags from the programs' own help.
//
// The module's files come in, Markdown goes out; it writes no file. Its test compares the
// pages in docs/reference with what it would write.
package page

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"github.com/sluicemesh/sluice/docs/gen/source"
	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/internal/ports"
	"github.com/sluicemesh/sluice/webhook/policy"
)

// Page is one file of docs/reference.
type Page struct {
	File string
	Text []byte
}

// All writes every page. module is the module's directory.
func All(ctx context.Context, module fs.FS) ([]Page, error) {
	metrics, err := metricsPage(module)
	if err != nil {
		return nil, err
	}
	reasons, err := reasonsPage(module)
	if err != nil {
		return nil, err
	}
	flags, err := flagsPage(ctx)
	if err != nil {
		return nil, err
	}
	captured, err := capturedPage()
	if err != nil {
		return nil, err
	}
	return []Page{
		{"annotations.md", annotationsPage()},
		{"ports.md", portsPage()},
		{"metrics.md", metrics},
		{"reason-codes.md", reasons},
		{"flags.md", flags},
		{"what-is-captured.md", captured},
		{"interception-options.md", optionsPage()},
	}, nil
}

// document is a page in the making.
type document struct{ text strings.Builder }

// begin starts a page that is made from what source names.
func begin(title, source, what string) *document {
	d := &document{}
	fmt.Fprintf(&d.text, "<!-- Written by go run ./docs/gen from %s. Do not edit. -->\n# %s\n\n%s\n", source, title, what)
	return d
}

// head starts a section with a table.
func (d *document) head(title string, columns ...string) {
	if title != "" {
		fmt.Fprintf(&d.text, "\n## %s\n", title)
	}
	fmt.Fprintf(&d.text, "\n| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
}

// row adds a row; | and line breaks in cells are made harmless.
func (d *document) row(cells ...string) {
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(strings.Join(strings.Fields(c), " "), "|", `\|`)
	}
	fmt.Fprintf(&d.text, "| %s |\n", strings.Join(cells, " | "))
}

func (d *document) bytes() []byte { return []byte(d.text.String()) }

// code sets a word as code; an empty one stays empty.
func code(word string) string {
	if word == "" {
		return ""
	}
	return "`" + word + "`"
}

func annotationsPage() []byte {
	d := begin("Labels, annotations and environment", "internal/meta",
		"What Sluice reads or writes on users' objects and in the proxy's container. A label or an annotation of a pod below\n"+
			"one of Sluice's prefixes that is not listed here is reported, with the nearest name that is\n"+
			"([UnknownAnnotation](reason-codes.md)). Lists are separated by commas; blanks around a word do not matter.\n"+
			"All values of a pod that cannot be read are reported in one message.")
	for _, section := range []struct {
		kind  meta.Kind
		title string
	}{{meta.Label, "Labels"}, {meta.Annotation, "Annotations"}, {meta.Environment, "Environment"}} {
		columns := []string{"name", "on", "values", "default", "effect"}
		if section.kind == meta.Annotation {
			columns = append(columns, "a value that cannot be read")
		}
		d.head(section.title, columns...)
		for _, n := range meta.All() {
			if n.Kind == section.kind {
				d.row([]string{code(n.Name), n.On, n.Values, n.Default, n.Doc, string(n.Bad)}[:len(columns)]...)
			}
		}
	}
	return d.bytes()
}

func portsPage() []byte {
	d := begin("Ports", "internal/ports", "Every port that Sluice owns. The numbers are Istio's, and fixed.")
	d.head("", "port", "program", "address", "protocol", "use")
	for _, p := range ports.All() {
		d.row(fmt.Sprint(p.Number), p.Owner, p.Bind, p.Protocol, p.Use)
	}
	return d.bytes()
}

func metricsPage(module fs.FS) ([]byte, error) {
	d := begin("Metrics", "the programs' sources",
		"What the programs count themselves; the names are Istio's where Istio has such a metric.\n"+
			"Go's and the process's own (`go_*`, `process_*`) come on top.")
	for _, s := range []struct{ title, dir, prefix string }{
		{"Control plane: injection (`sluiced`, port 15014)", "webhook", ""},
		{"Control plane: configuration and certificates (`sluiced`, port 15014)", "xds", ""},
		{"Agent (`sluice-agent`, port 15020, merged with Envoy's and the application's)", "agent/metrics", "istio_agent_"},
	} {
		folders, err := source.Read(module, s.dir)
		if err != nil {
			return nil, err
		}
		d.head(s.title, "metric", "type", "labels", "meaning")
		for _, f := range folders {
			for _, m := range f.Metrics(s.prefix) {
				d.row(code(m.Name), m.Type, code(strings.Join(m.Labels, ", ")), m.Help)
			}
		}
	}
	return d.bytes(), nil
}

func reasonsPage(module fs.FS) ([]byte, error) {
	d := begin("Reason codes", "the programs' sources",
		"Each decision and each mistake has a stable code: metric label, part of the message, condition reason. `%s`, `%q` and …\n"+
			"stand for what is filled in.")
	d.head("Is a pod injected?", "code", "meaning", "what to do")
	for _, t := range policy.Reasons() {
		d.row(code(string(t.Reason)), t.Means, t.Do)
	}
	for _, s := range []struct{ title, dir, skip string }{
		{"What is wrong with a pod, or with a review", "webhook", "webhook/policy"},
		{"What is wrong with a configuration object", "xds", ""},
		{"What is wrong with installation settings", "cli", ""},
	} {
		folders, err := source.Read(module, s.dir)
		if err != nil {
			return nil, err
		}
		d.head(s.title, "code", "meaning", "given by")
		for _, f := range folders {
			if f.Path == s.skip {
				continue
			}
			for _, r := range f.Reasons() {
				d.row(code(r.Code), r.Doc, f.Path)
			}
		}
	}
	return d.bytes(), nil
}
