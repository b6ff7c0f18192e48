// Package object holds what the conversions of all kinds share: where an object came
// from, notes on what is wrong with it, host names and visibility as users write them.
//
// It is pure and knows no kind in particular.
package object

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/ir"
)

// Reasons of problems. They are stable: metrics and conditions carry them.
const (
	NotSupported = "NotSupported" // a field that has no effect here
	InvalidValue = "InvalidValue" // a value that the field does not allow
	Missing      = "MissingField" // a field that must be set
	Conflict     = "Conflict"     // two fields or objects that exclude each other
)

// Origin says where an object came from. kind is as in problem.Origin.
func Origin(kind string, m metav1.Object) problem.Origin {
	return problem.Origin{
		Kind: kind, Namespace: m.GetNamespace(), Name: m.GetName(),
		Generation: m.GetGeneration(), Created: m.GetCreationTimestamp().Time,
	}
}

// Notes collects the problems of one object.
type Notes struct {
	Origin   problem.Origin
	Problems []problem.Problem
}

// Warn notes something that has no effect; the rest of the object works.
func (n *Notes) Warn(path, reason, format string, args ...any) {
	n.add(problem.Problem{Path: path, Reason: reason, Message: fmt.Sprintf(format, args...)})
}

// Fatal notes that the object, or the rule at path, is not programmed.
func (n *Notes) Fatal(path, reason, format string, args ...any) {
	n.add(problem.Problem{Path: path, Reason: reason, Message: fmt.Sprintf(format, args...), Fatal: true})
}

func (n *Notes) add(p problem.Problem) {
	p.Origin = n.Origin
	n.Problems = append(n.Problems, p)
}

// Failed reports whether a fatal problem was noted since mark, a length of Problems.
func (n *Notes) Failed(mark int) bool { return problem.AnyFatal(n.Problems[mark:]) }

// Host resolves a host name as written in an object of namespace: a name without dots is a
// Service of that namespace; names with dots, wildcards and addresses are taken literally.
// The result is lower case without a trailing dot.
func Host(host, namespace, clusterDomain string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "" || strings.ContainsAny(host, ".*:") {
		return host
	}
	return host + "." + namespace + ".svc." + clusterDomain
}

// ValidHost reports whether host is a DNS name, a wildcard "*" or "*.example.com".
func ValidHost(host string) bool {
	if host == "*" {
		return true
	}
	host = strings.TrimPrefix(host, "*.")
	if len(host) == 0 || len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if !validLabel(label) {
			return false
		}
	}
	return true
}

func validLabel(label string) bool {
	if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for _, c := range label {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// ExportTo reads a visibility list; path is for notes. An empty list is public.
func (n *Notes) ExportTo(path string, words []string) ir.Visibility {
	var v ir.Visibility
	public := len(words) == 0
	for _, w := range words {
		switch w = strings.TrimSpace(w); {
		case w == "*":
			public = true
		case w == ".":
			v.Private = true
		case w == "~":
			v.None = true
		case validLabel(w):
			v.Namespaces = append(v.Namespaces, w)
		default:
			n.Warn(path, InvalidValue, "%q is not a namespace; write a namespace, \".\", \"*\" or \"~\"", w)
		}
	}
	switch {
	case public:
		return ir.Visibility{}
	case !v.Private && !v.None && len(v.Namespaces) == 0:
		// Nothing of the list could be read: showing the object to nobody else is safe.
		return ir.Visibility{Private: true}
	case v.None && (v.Private || len(v.Namespaces) > 0):
		v.None = false
	}
	return v
}

// Port reads a port number.
func (n *Notes) Port(path string, number uint32) uint16 {
	if number < 1 || number > 65535 {
		n.Fatal(path, InvalidValue, "%d is not a port; write a number from 1 to 65535", number)
		return 0
	}
	return uint16(number)
}
