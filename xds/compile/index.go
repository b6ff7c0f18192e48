package compile

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/xds/api"
	"github.com/sluicemesh/sluice/xds/incr"
	"github.com/sluicemesh/sluice/xds/ir"
)

// objects is a group of objects, oldest first.
type objects = []*object

// indexes find objects by what they say.
type indexes struct {
	byHost    *incr.Collection[string, objects]       // services, routes and rules of a host name or wildcard
	slices    *incr.Collection[ir.ServiceID, objects] // by namespace and short name of the service
	pods      *incr.Collection[string, objects]       // by namespace
	selectors *incr.Collection[selector, objects]     // services by a pair of their selector
	gateways  *incr.Collection[string, objects]       // Gateways by a pair of their selector
	bound     *incr.Collection[string, objects]       // VirtualServices by gateway
	addresses *incr.Collection[netip.Addr, objects]   // services by virtual address
	foreign   *incr.Collection[string, objects]       // by first label: hosts that look like short names
	httpPorts *incr.Collection[uint16, httpPort]      // who speaks HTTP on a port
}

// selector is a pair of labels in a namespace.
type selector struct{ namespace, pair string }

func newIndexes(g *incr.Graph, in *incr.Collection[objectKey, *object]) indexes {
	return indexes{
		byHost: index(g, "by host", in, hostsOf),
		slices: index(g, "slices", in, func(o *object) (out []ir.ServiceID) {
			for _, s := range o.Slices {
				out = append(out, ir.ServiceID{Namespace: s.Namespace, Host: s.Service})
			}
			return out
		}),
		pods: index(g, "pods", in, func(o *object) (out []string) {
			for _, w := range o.Workloads {
				out = append(out, w.Namespace)
			}
			return out
		}),
		selectors: index(g, "selectors", in, func(o *object) (out []selector) {
			for _, s := range o.Services {
				if len(s.Selector) > 0 {
					out = append(out, selector{s.ID.Namespace, s.Selector[0]})
				}
			}
			return unique(out)
		}),
		gateways: index(g, "gateways", in, func(o *object) (out []string) {
			for _, gw := range o.Gateways {
				out = append(out, append(slices.Clone(gw.Selector), "")[0])
			}
			return out
		}),
		bound: index(g, "bound", in, func(o *object) (out []string) {
			for _, v := range o.VirtualServices {
				out = append(out, v.Gateways...)
			}
			return unique(out)
		}),
		addresses: index(g, "addresses", in, addressesOf),
		foreign:   index(g, "foreign hosts", in, foreignOf),
		httpPorts: newHTTPPorts(g, in),
	}
}

func index[G comparable](g *incr.Graph, name string, in *incr.Collection[objectKey, *object], groups func(*object) []G) *incr.Collection[G, objects] {
	return incr.Index(g, name, in, func(_ objectKey, o *object) []G { return groups(o) }, compareObjects)
}

// unique keeps the first of equal elements. Lists are short.
func unique[T comparable](in []T) []T {
	var out []T
	for _, v := range in {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// hostsOf are the host names and wildcards that an object says something about.
func hostsOf(o *object) (out []string) {
	for _, s := range o.Services {
		out = append(out, s.ID.Host)
	}
	for _, v := range o.VirtualServices {
		if slices.Contains(v.Gateways, ir.MeshGateway) {
			out = append(out, v.Hosts...)
		}
	}
	for _, r := range o.DestinationRules {
		out = append(out, r.Host)
	}
	return unique(out)
}

// addressesOf are the addresses that an object claims as names: virtual addresses of
// services, and hosts that are addresses themselves.
func addressesOf(o *object) (out []netip.Addr) {
	for _, h := range hostsOf(o) {
		if ip, err := netip.ParseAddr(h); err == nil {
			out = append(out, ip)
		}
	}
	for _, s := range o.Services {
		for _, p := range s.Addresses {
			if p.IsSingleIP() {
				out = append(out, p.Addr())
			}
		}
	}
	return unique(out)
}

// foreignOf are the first labels of hosts that are no Kubernetes Services: their names, or
// short forms of them, may be short forms of Services.
func foreignOf(o *object) (out []string) {
	if o.key.Kind == api.Service {
		return nil
	}
	for _, h := range hostsOf(o) {
		first, _, _ := strings.Cut(h, ".")
		out = append(out, first)
	}
	return unique(out)
}

// httpPort says who sees HTTP services on a port number.
type httpPort struct {
	public     bool // everybody
	restricted []*ir.Service
}

// newHTTPPorts sums up the services that speak HTTP by port, so that what depends on
// whether there is any does not depend on each.
func newHTTPPorts(g *incr.Graph, in *incr.Collection[objectKey, *object]) *incr.Collection[uint16, httpPort] {
	speakers := index(g, "http speakers", in, func(o *object) (out []uint16) {
		for _, s := range o.Services {
			for _, p := range s.Ports {
				if p.Protocol.IsHTTP() {
					out = append(out, p.Number)
				}
			}
		}
		return unique(out)
	})
	equal := func(a, b httpPort) bool { return reflect.DeepEqual(a, b) }
	return incr.FlatMap(g, "http ports", speakers, equal, func(_ *incr.Ctx, port uint16, group objects) []incr.Entry[uint16, httpPort] {
		var out httpPort
		for _, o := range group {
			for i := range o.Services {
				s := &o.Services[i]
				if p, ok := s.Port(port); !ok || !p.Protocol.IsHTTP() {
					continue
				}
				if reflect.DeepEqual(s.ExportTo, ir.Visibility{}) {
					out = httpPort{public: true}
					return []incr.Entry[uint16, httpPort]{{Key: port, Value: out}}
				}
				out.restricted = append(out.restricted, s)
			}
		}
		return []incr.Entry[uint16, httpPort]{{Key: port, Value: out}}
	})
}

// visibleTo reports whether a client in namespace sees an HTTP service on the port.
func (h httpPort) visibleTo(namespace string) bool {
	return h.public || slices.ContainsFunc(h.restricted, func(s *ir.Service) bool { return s.ExportTo.VisibleTo(s.ID.Namespace, namespace) })
}
