// Package change says what differs between two trees of a Kubernetes object in the terms of
// its user: a container was added, a variable has another value, a probe asks another port.
//
// Elements of lists are told apart by name, mount path or port, never by position. The
// package is pure: it compares and writes, and knows nothing of injection.
package change

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/cli/document"
)

// Op is what happened to a value.
type Op string

// The operations.
const (
	Added   Op = "added"
	Removed Op = "removed"
	Changed Op = "changed"
	// Moved is another order of a list's elements; Before and After list their names.
	Moved Op = "moved"
)

// Change is one difference.
type Change struct {
	Op Op `json:"op"`
	// Path leads to the value; an element of a list is named in brackets:
	// spec.containers[web].env[PORT].value. Keys that have dots in them are in brackets, too.
	Path string `json:"path"`
	// Before and After are trees; nil where there is none.
	Before any `json:"before,omitempty"`
	After  any `json:"after,omitempty"`

	steps []step
}

// step is one part of a path: a key, or an element of the list before it.
type step struct {
	name    string
	element bool
}

// Diff returns what leads from one tree to the other, in the order of paths. A value that
// the API server sets where it is absent counts as absent.
func Diff(before, after map[string]any) []Change {
	var d differ
	d.maps(nil, before, after)
	return d.found
}

type differ struct{ found []Change }

func (d *differ) add(op Op, at []step, before, after any) {
	field := at[len(at)-1].name
	if at[0].name == "spec" && (op == Removed && isDefault(field, before) || op == Added && isDefault(field, after)) {
		return
	}
	var path strings.Builder
	for i, s := range at {
		switch {
		case s.element || strings.ContainsAny(s.name, "./"):
			path.WriteString("[" + s.name + "]")
		case i > 0:
			path.WriteString("." + s.name)
		default:
			path.WriteString(s.name)
		}
	}
	d.found = append(d.found, Change{Op: op, Path: path.String(), Before: before, After: after, steps: slices.Clone(at)})
}

// value compares what stands at one path on both sides.
func (d *differ) value(at []step, before, after any) {
	if reflect.DeepEqual(before, after) || at[0].name == "spec" && reflect.DeepEqual(bare(before), bare(after)) {
		return
	}
	b, okB := before.(map[string]any)
	a, okA := after.(map[string]any)
	if okB && okA {
		d.maps(at, b, a)
		return
	}
	from, okFrom := before.([]any)
	to, okTo := after.([]any)
	if okFrom && okTo && identified(from) && identified(to) {
		d.lists(at, from, to)
		return
	}
	d.add(Changed, at, before, after)
}

func (d *differ) maps(at []step, before, after map[string]any) {
	keys := slices.Sorted(maps.Keys(after))
	for key := range before {
		if _, ok := after[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		next := below(at, step{name: key})
		b, had := before[key]
		a, has := after[key]
		switch {
		case had && has:
			d.value(next, b, a)
		case has:
			d.one(Added, next, a)
		default:
			d.one(Removed, next, b)
		}
	}
}

// below is a path one step on; at is not changed.
func below(at []step, s step) []step { return slices.Concat(at, []step{s}) }

// one is a value that only one side has: of lists and of the maps that users think of by
// key, each element is told.
func (d *differ) one(op Op, at []step, v any) {
	switch v := v.(type) {
	case map[string]any:
		if name := at[len(at)-1].name; len(at) <= 2 && (name == "metadata" || name == "labels" || name == "annotations") {
			for _, key := range slices.Sorted(maps.Keys(v)) {
				d.one(op, below(at, step{name: key}), v[key])
			}
			return
		}
	case []any:
		if identified(v) && len(v) > 0 {
			for _, element := range v {
				d.one(op, below(at, step{document.Identity(element), true}), element)
			}
			return
		}
	}
	if op == Added {
		d.add(op, at, nil, v)
	} else {
		d.add(op, at, v, nil)
	}
}

// lists compares lists whose elements have names.
func (d *differ) lists(at []step, before, after []any) {
	element := func(e any) []step { return below(at, step{document.Identity(e), true}) }
	var from, to []string
	for _, b := range before {
		if i := indexOf(after, b); i < 0 {
			d.one(Removed, element(b), b)
		} else {
			from = append(from, document.Identity(b))
		}
	}
	for _, a := range after {
		if i := indexOf(before, a); i < 0 {
			d.one(Added, element(a), a)
		} else {
			to = append(to, document.Identity(a))
			d.value(element(a), before[i], a)
		}
	}
	if !slices.Equal(from, to) {
		d.add(Moved, at, from, to)
	}
}

func indexOf(list []any, element any) int {
	return slices.IndexFunc(list, func(e any) bool { return document.Identity(e) == document.Identity(element) })
}

// identified reports whether each element of a list has a name of its own.
func identified(list []any) bool {
	seen := map[string]bool{}
	for _, element := range list {
		id := document.Identity(element)
		if id == "" || seen[id] {
			return false
		}
		seen[id] = true
	}
	return true
}

// bare is a copy of a tree without the fields that the API server would set to the same.
func bare(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, field := range v {
			if !isDefault(key, field) {
				out[key] = bare(field)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = bare(v[i])
		}
		return out
	}
	return v
}

// isDefault reports whether v is what the API server sets for the field where it is absent.
func isDefault(field string, v any) bool {
	d, ok := defaults()[field]
	return ok && fmt.Sprint(d) == fmt.Sprint(v)
}

// defaults are those that a pod's containers and volumes have.
//
// Source: Kubernetes, defaults of core/v1.
func defaults() map[string]any {
	return map[string]any{
		"terminationMessagePath":   "/dev/termination-log",
		"terminationMessagePolicy": "File",
		"imagePullPolicy":          "IfNotPresent",
		"protocol":                 "TCP",
		"scheme":                   "HTTP",
		"timeoutSeconds":           1,
		"periodSeconds":            10,
		"successThreshold":         1,
		"failureThreshold":         3,
		"apiVersion":               "v1",
		"divisor":                  "0",
		"defaultMode":              420,
		"schedulerName":            "default-scheduler",
		"dnsPolicy":                "ClusterFirst",
		"enableServiceLinks":       true,
	}
}
