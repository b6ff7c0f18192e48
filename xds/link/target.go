package link

import (
	"slices"

	"github.com/sluicemesh/sluice/xds/ir"
)

// Target is where a destination leads.
type Target struct {
	// Service is nil if the client sees none of that name; Envoy then answers 503.
	Service *ir.Service
	Port    ir.Port // only the number is set if the service has no such port
	Rule    *Rule   // nil: none
}

// Resolve finds the destination host:port for a client in namespace. port 0 is the only
// port of the service, or else the listener's. h may be nil.
func Resolve(h *Host, port, listener uint16, namespace, root string) Target {
	t := Target{Port: ir.Port{Number: port}}
	if t.Port.Number == 0 {
		t.Port.Number = listener
	}
	if h == nil {
		return t
	}
	t.Service = h.Service(namespace)
	t.Rule = h.Rule(namespace, root, t.Service)
	if t.Service == nil {
		return t
	}
	if port == 0 {
		if ports := streamPorts(t.Service); len(ports) == 1 {
			t.Port.Number = ports[0].Number
		}
	}
	if p, ok := t.Service.Port(t.Port.Number); ok {
		t.Port = p
	}
	return t
}

// streamPorts are the ports that proxies handle.
func streamPorts(s *ir.Service) []ir.Port {
	var out []ir.Port
	for _, p := range s.Ports {
		if p.Protocol != ir.UDP {
			out = append(out, p)
		}
	}
	return out
}

// Source is the client that the static conditions of routes are decided for.
type Source struct {
	Gateway   string // ir.MeshGateway, or "<namespace>/<name>"
	Port      uint16 // of the listener or gateway server
	Namespace string
	Labels    ir.Labels
}

// Applies decides the static conditions but for the labels. labels says that the condition
// asks for labels as well.
func (s Source) Applies(m ir.SourceMatch) (ok, labels bool) {
	if len(m.Gateways) > 0 && !slices.Contains(m.Gateways, s.Gateway) ||
		m.Port != 0 && m.Port != s.Port || m.Namespace != "" && m.Namespace != s.Namespace {
		return false, false
	}
	return true, len(m.Labels) > 0
}

// Rules returns the positions of the HTTP routes of v that hold for s, up to the first that
// matches every request. labels says that one of them depends on labels; then the
// positions are right for s.Labels only.
func (s Source) Rules(v *ir.VirtualService) (positions []int, labels bool) {
	for i, r := range v.HTTP {
		ok, depends := s.Applies(r.Source)
		if !ok {
			continue
		}
		if depends {
			labels = true
			if !r.Source.Labels.SubsetOf(s.Labels) {
				continue
			}
		}
		positions = append(positions, i)
		if r.Match.CatchAll() && !depends {
			break
		}
	}
	return positions, labels
}
