package change

import (
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/cli/document"
	"github.com/sluicemesh/sluice/cli/terminal"
)

// Writer writes changes for people.
type Writer struct {
	Out   io.Writer
	Paint terminal.Paint
	// Full writes every value; else long ones are cut, and lists give names only.
	Full bool
}

// width is where values are cut.
const width = 96

// Write writes the changes of one object below its title.
func (w Writer) Write(title string, changes []Change) {
	fmt.Fprintln(w.Out, w.Paint.Title(title))
	if len(changes) == 0 {
		fmt.Fprintln(w.Out, "  "+w.Paint.Quiet("no difference"))
		return
	}
	counts := map[Op]int{}
	for _, c := range changes {
		counts[c.Op]++
	}
	for _, part := range parts() {
		w.part(part, changes)
	}
	fmt.Fprintf(w.Out, "  %s\n", w.Paint.Quiet(fmt.Sprintf("%d added, %d changed, %d removed, %d moved",
		counts[Added], counts[Changed], counts[Removed], counts[Moved])))
}

// part is a group of changes in the order in which they are shown.
type part struct {
	key  string // of metadata or spec; empty for all others of spec
	name string
	// nested says that changes inside an element come below a line for it.
	nested bool
}

func parts() []part {
	return []part{
		{"labels", "label", false},
		{"annotations", "annotation", false},
		{"initContainers", "init container", true},
		{"containers", "container", true},
		{"ephemeralContainers", "ephemeral container", true},
		{"volumes", "volume", true},
		{"imagePullSecrets", "image pull secret", false},
		{},
	}
}

// partOf finds the part of a change and the steps below it.
func partOf(c Change) (part, []step) {
	for _, p := range parts() {
		if len(c.steps) > 1 && c.steps[1].name == p.key {
			return p, c.steps[2:]
		}
	}
	return part{}, c.steps
}

// part writes the changes of one part.
func (w Writer) part(wanted part, changes []Change) {
	last := ""
	for _, c := range changes {
		p, below := partOf(c)
		if p != wanted {
			continue
		}
		name := join(below)
		switch {
		case p.key == "":
			w.line(1, c, name)
		case len(below) == 0 && c.Op == Moved:
			w.line(1, c, p.name+"s")
		case len(below) == 1 && c.Op == Added && p.key == "volumes":
			fmt.Fprintf(w.Out, "  %s %s: %s\n", w.sign(Added), w.Paint.Good(p.name+" "+below[0].name), w.cut(brief(inner(c.After))))
		case len(below) == 1 && c.Op == Added && p.nested:
			w.added(p.name+" "+below[0].name, c.After)
		case len(below) == 1 && p.nested:
			fmt.Fprintf(w.Out, "  %s %s %s\n", w.sign(c.Op), p.name, below[0].name)
		case p.nested:
			if below[0].name != last {
				fmt.Fprintf(w.Out, "  %s %s %s\n", w.sign(Changed), p.name, below[0].name)
				last = below[0].name
			}
			w.line(3, c, join(below[1:]))
		default:
			w.line(1, c, strings.TrimSpace(p.name+" "+name))
		}
	}
}

// join writes steps as a path; an element of a list of a field is "env PORT".
func join(steps []step) string {
	var b strings.Builder
	for i, s := range steps {
		switch {
		case i == 0:
		case s.name == "value" && i == len(steps)-1 && steps[i-1].element:
			continue // of a variable
		case s.element:
			b.WriteString(" ")
		case steps[i-1].element:
			b.WriteString(" ")
		default:
			b.WriteString(".")
		}
		b.WriteString(s.name)
	}
	return b.String()
}

func (w Writer) sign(o Op) string {
	switch o {
	case Added:
		return w.Paint.Good("+")
	case Removed:
		return w.Paint.Bad("-")
	}
	return w.Paint.Changed("~")
}

// line writes a change of one value; a change of many values in one list comes after it.
func (w Writer) line(indent int, c Change, name string) {
	text := ""
	if c.steps[len(c.steps)-1].element {
		c.Before, c.After = inner(c.Before), inner(c.After)
	}
	switch c.Op {
	case Added:
		text = w.Paint.Good(w.cut(brief(c.After)))
	case Removed:
		text = w.Paint.Bad(w.cut(brief(c.Before)))
	case Changed:
		before, after := differing(c.Before, c.After)
		text = w.Paint.Bad(w.cut(brief(before))) + " → " + w.Paint.Good(w.cut(brief(after)))
	case Moved:
		text = "order " + strings.Join(c.Before.([]string), ", ") + " → " + strings.Join(c.After.([]string), ", ")
	}
	fmt.Fprintf(w.Out, "%s%s %s: %s\n", strings.Repeat("  ", indent), w.sign(c.Op), name, text)
}

// differing leaves of two command lines the words that differ: from the first one to the
// last one.
func differing(before, after any) (left, right any) {
	a, okA := before.([]any)
	b, okB := after.([]any)
	if !okA || !okB {
		return before, after
	}
	for len(a) > 0 && len(b) > 0 && reflect.DeepEqual(a[0], b[0]) {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && reflect.DeepEqual(a[len(a)-1], b[len(b)-1]) {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return a, b
}

// added writes a new element with its fields.
func (w Writer) added(name string, v any) {
	m, ok := v.(map[string]any)
	if !ok {
		return
	}
	remark := ""
	if m["restartPolicy"] == "Always" {
		remark = " (native sidecar)"
	}
	fmt.Fprintf(w.Out, "  %s %s%s\n", w.sign(Added), w.Paint.Good(name), remark)
	for _, field := range fields(m) {
		if field == "name" {
			continue
		}
		list, ok := m[field].([]any)
		if ok && w.Full && identified(list) {
			for _, element := range list {
				fmt.Fprintf(w.Out, "      %s %s: %s\n", field, document.Identity(element), brief(inner(element)))
			}
			continue
		}
		fmt.Fprintf(w.Out, "      %s: %s\n", field, w.cut(summary(m[field])))
	}
}

// fields are the keys of a container in the order in which people write them.
func fields(m map[string]any) []string {
	first := []string{"name", "image", "command", "args"}
	keys := slices.Sorted(maps.Keys(m))
	slices.SortStableFunc(keys, func(a, b string) int {
		rank := func(k string) int {
			if i := slices.Index(first, k); i >= 0 {
				return i
			}
			return len(first)
		}
		return rank(a) - rank(b)
	})
	return keys
}

// inner is an element without its name; a variable's is its value.
func inner(element any) any {
	m, ok := element.(map[string]any)
	if !ok {
		return element
	}
	rest := maps.Clone(m)
	delete(rest, "name")
	if v, ok := rest["value"]; ok && len(rest) == 1 {
		return v
	}
	return rest
}

// summary is the names of a list's elements, else the value.
func summary(v any) string {
	list, ok := v.([]any)
	if !ok || !identified(list) {
		return brief(v)
	}
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = document.Identity(e)
	}
	return strings.Join(names, ", ")
}

// brief is a value in one line: words of a list as on a command line, maps as in YAML.
func brief(v any) string {
	switch v := v.(type) {
	case map[string]any:
		keys := slices.Sorted(maps.Keys(v))
		for i, k := range keys {
			keys[i] = k + ": " + brief(v[k])
		}
		return "{" + strings.Join(keys, ", ") + "}"
	case []any:
		words := make([]string, len(v))
		separator := " "
		for i, e := range v {
			if _, ok := e.(string); !ok {
				separator = ", "
			}
			words[i] = brief(e)
		}
		if separator == ", " || len(v) == 0 {
			return "[" + strings.Join(words, separator) + "]"
		}
		return strings.Join(words, separator)
	case string:
		if v == "" || strings.ContainsAny(v, "\n\t") {
			return fmt.Sprintf("%q", v)
		}
		return v
	}
	return fmt.Sprint(v)
}

// cut shortens a text that would fill more than a line.
func (w Writer) cut(s string) string {
	if r := []rune(s); !w.Full && len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return s
}
