package serve

import (
	"slices"
	"strings"
	"time"

	"github.com/sluicemesh/sluice/internal/problem"
)

// Rejection is a proxy's refusal of resources. It stands until the proxy has taken something
// else under each of the names: what it runs meanwhile is not what the objects say.
type Rejection struct {
	At      time.Time
	Message string           // Envoy's own words
	Names   []string         // of the resources
	Origins []problem.Origin // objects that they were made from, each once; one of them is wrong
}

// RejectedByProxy is the reason of the problem that Envoy does not take what an object became.
const RejectedByProxy = "RejectedByProxy"

// Problems are the rejections that stand, one of each object and message however many
// proxies say it, in the order of the proxies' names.
func (s *Server) Problems() []problem.Problem {
	type key struct{ origin, message string }
	seen := map[key]bool{}
	var out []problem.Problem
	for _, p := range s.Status() {
		for _, typeURL := range pushOrder {
			for _, r := range p.Rejected[short(typeURL)] {
				for _, o := range r.Origins {
					if k := (key{o.String(), r.Message}); !seen[k] {
						seen[k] = true
						out = append(out, problem.Problem{
							Origin: o, Reason: RejectedByProxy, Fatal: true,
							Message: "Envoy of " + p.Name + " rejects what was made of it, with others or alone, and keeps what it had: " + r.Message,
						})
					}
				}
			}
		}
	}
	return out
}

// blamed lists the resources that a rejection is about. Agents begin each part of their
// message with a name; of other clients nothing is known but what they were sent.
func blamed(message string, sent []string, res *typeResources) []string {
	var out []string
	for part := range strings.SplitSeq(message, "; ") {
		name, _, found := strings.Cut(part, ": ")
		if found && res.resources[name] != nil && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	if out == nil {
		return slices.Clone(sent)
	}
	return out
}

// reject records that a client refuses resources.
func (r *record) reject(n Rejection) {
	r.forget(n.Names)
	r.rejected = append(r.rejected, n)
}

// accept records that a client has taken the last answer.
func (r *record) accept() {
	if r.sentWhole {
		r.rejected = nil
		return
	}
	r.forget(r.sentNames)
}

// forget ends what stands against names. Rejections may be shared and are not modified.
func (r *record) forget(names []string) {
	var kept []Rejection
	for _, x := range r.rejected {
		x.Names = slices.DeleteFunc(slices.Clone(x.Names), func(n string) bool { return slices.Contains(names, n) })
		if len(x.Names) > 0 {
			kept = append(kept, x)
		}
	}
	r.rejected = kept
}

// origins are the objects that resources were made from, each once, older ones first.
func (t *typeResources) origins(names []string) []problem.Origin {
	var out []problem.Origin
	for _, name := range names {
		out = append(out, t.from[name]...)
	}
	slices.SortFunc(out, problem.Origin.Compare)
	return slices.CompactFunc(out, func(a, b problem.Origin) bool { return a.Compare(b) == 0 })
}
