// Package problem holds a user's mistake as a plain value.
//
// A mistake in a user's object is not a Go error and not a log line: the parts of
// Sluice collect Problems while they convert and link objects, go on with the rest,
// and show them on the object, in metrics and in the command line. The package is
// pure and imports nothing of Sluice.
package problem

import (
	"fmt"
	"strings"
	"time"
)

// Origin names the object that something was made from. It travels from the object
// through the IR into each Envoy resource, so that a rejected resource names its cause.
type Origin struct {
	// Kind is the kind and API group, "VirtualService.networking.istio.io"; core kinds
	// have no group, "Service".
	Kind string
	// Namespace and Name identify the object; Namespace is empty for cluster scope.
	Namespace, Name string
	// Generation is metadata.generation, 0 where the kind has none.
	Generation int64
	// Created is metadata.creationTimestamp; of two equal claims the older one wins.
	Created time.Time
}

// String is "Kind namespace/name", the form that messages use.
func (o Origin) String() string {
	if o.Namespace == "" {
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// Before orders origins by precedence: older first, then by namespace, name and kind.
// The order is total over distinct objects.
func (o Origin) Before(p Origin) bool { return o.Compare(p) < 0 }

// Compare is Before as a three-way comparison, for slices.SortFunc.
func (o Origin) Compare(p Origin) int {
	if c := o.Created.Compare(p.Created); c != 0 {
		return c
	}
	if c := strings.Compare(o.Namespace, p.Namespace); c != 0 {
		return c
	}
	if c := strings.Compare(o.Name, p.Name); c != 0 {
		return c
	}
	return strings.Compare(o.Kind, p.Kind)
}

// Problem is one mistake in one field of one object.
type Problem struct {
	Origin
	// Path is the field, "spec.http[2].route[0].weight"; empty for the object as a whole.
	Path string
	// Reason is a stable UpperCamel code, used as a metric label and condition reason.
	Reason string
	// Message says what was wrong and what to do, without the object and the field.
	Message string
	// Fatal says that the object (or the rule at Path) is not programmed.
	Fatal bool
}

// String is the whole sentence a user reads: object, field, message and code.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Origin.String())
	if p.Path != "" {
		fmt.Fprintf(&b, ": %s", p.Path)
	}
	fmt.Fprintf(&b, ": %s [%s]", p.Message, p.Reason)
	return b.String()
}

// Join renders all problems as one message, one per line, in the given order.
func Join(ps []Problem) string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// AnyFatal reports whether at least one problem is fatal.
func AnyFatal(ps []Problem) bool {
	for _, p := range ps {
		if p.Fatal {
			return true
		}
	}
	return false
}
