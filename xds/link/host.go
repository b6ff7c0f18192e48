// Package link resolves what objects say of one another: which service a host name means
// to a client, which DestinationRule and which VirtualService apply, where a destination
// leads, which endpoints a service port has and which identities they prove.
//
// It is pure: functions of IR values. It decides nothing about Envoy and knows no proxy
// but for the namespace it lives in.
package link

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/xds/ir"
)

// Host is everything that is known of one host name. It is never modified.
type Host struct {
	Name string
	// Services are those of this name, Kubernetes before others, then older before
	// younger; one per namespace.
	Services []*ir.Service
	// Rules apply to the host, most specific first.
	Rules []*Rule
	// Routes claim the host for sidecars, most specific first, then older before younger.
	Routes []*ir.VirtualService
}

// Claims is what objects say about a host name or wildcard.
type Claims struct {
	Rules  []*Rule
	Routes []*ir.VirtualService
}

// NewHost puts together what is known of name. services are those of the name in any
// order; claims are those of the name itself, then of its wildcards, longest first. It is
// nil when there is neither a service nor a route for exactly that name.
func NewHost(name string, services []*ir.Service, claims []*Claims) *Host {
	h := &Host{Name: name}
	slices.SortFunc(services, func(a, b *ir.Service) int {
		return cmp.Or(cmp.Compare(a.Registry, b.Registry), a.From.Compare(b.From))
	})
	for _, s := range services {
		taken := slices.ContainsFunc(h.Services, func(o *ir.Service) bool { return o.ID == s.ID })
		if !taken {
			h.Services = append(h.Services, s)
		}
	}
	for _, c := range claims {
		if c == nil {
			continue
		}
		h.Rules = append(h.Rules, c.Rules...)
		for _, v := range c.Routes {
			if !slices.Contains(h.Routes, v) {
				h.Routes = append(h.Routes, v)
			}
		}
	}
	if len(h.Services) == 0 && !slices.ContainsFunc(h.Routes, func(v *ir.VirtualService) bool { return slices.Contains(v.Hosts, name) }) {
		return nil
	}
	return h
}

// Equal reports whether two hosts are made of the same values.
func Equal(a, b *Host) bool {
	return a.Name == b.Name && slices.Equal(a.Services, b.Services) && slices.Equal(a.Rules, b.Rules) && slices.Equal(a.Routes, b.Routes)
}

// Wildcards are the wildcards that cover name, longest first, without name itself.
func Wildcards(name string) []string {
	rest := strings.TrimPrefix(name, "*.")
	var out []string
	for {
		_, parent, found := strings.Cut(rest, ".")
		if !found {
			break
		}
		rest = parent
		out = append(out, "*."+rest)
	}
	if name != "*" {
		out = append(out, "*")
	}
	return out
}

// Covers reports whether pattern is host or a wildcard that covers it.
func Covers(pattern, host string) bool {
	if pattern == host || pattern == "*" {
		return true
	}
	suffix, wild := strings.CutPrefix(pattern, "*")
	return wild && strings.HasSuffix(host, suffix) && len(host) > len(suffix)
}

// Service is what the host means to a client in namespace: a service of its own
// namespace, else one of Kubernetes, else the oldest of those that are visible. It is nil if none is.
func (h *Host) Service(namespace string) *ir.Service {
	var best *ir.Service
	for _, s := range h.Services {
		if !s.ExportTo.VisibleTo(s.ID.Namespace, namespace) {
			continue
		}
		if s.ID.Namespace == namespace {
			return s
		}
		if best == nil {
			best = s
		}
	}
	return best
}

// Route is the VirtualService that owns the host for sidecars in namespace, nil if none.
func (h *Host) Route(namespace string) *ir.VirtualService {
	for _, v := range h.Routes {
		if v.ExportTo.VisibleTo(v.Namespace, namespace) {
			return v
		}
	}
	return nil
}

// Rule is the DestinationRule that a client in namespace follows, nil if none: one of its
// own namespace, else one of the service's namespace, else one of the root namespace; the
// latter two must be visible. A client in the root namespace follows there, at first, only
// rules that are private. Service may be nil.
// Source: Istio, cross-namespace configuration of DestinationRules.
func (h *Host) Rule(namespace, root string, service *ir.Service) *Rule {
	levels := [3]func(r *Rule) bool{
		func(r *Rule) bool {
			return r.Namespace == namespace && (namespace != root || r.ExportTo.Private)
		},
		func(r *Rule) bool {
			return service != nil && r.Namespace == service.ID.Namespace && r.ExportTo.VisibleTo(r.Namespace, namespace)
		},
		func(r *Rule) bool { return r.Namespace == root && r.ExportTo.VisibleTo(r.Namespace, namespace) },
	}
	for _, fits := range levels {
		for _, r := range h.Rules {
			if fits(r) {
				return r
			}
		}
	}
	return nil
}
