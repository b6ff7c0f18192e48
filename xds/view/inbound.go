package view

import (
	"cmp"
	"slices"

	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy/cluster"
	"github.com/sluicemesh/sluice/xds/envoy/listener"
	"github.com/sluicemesh/sluice/xds/ir"
)

// InboundPort is a port of the pod that services target.
type InboundPort struct {
	Listener listener.InboundPort
	Owners   []cluster.Owner // oldest first
	// First is the service that decides, with the number of its port.
	First *ir.Service
	Port  uint16
}

// Inbound returns the ports that the proxies of a class serve, ascending. services are
// those of the namespace that may select the class. The oldest service decides what a
// port speaks; the proxy's own ports are left out.
func Inbound(c class.Class, services []*ir.Service) []InboundPort {
	labels := ir.Labels(c.LabelPairs())
	selecting := slices.DeleteFunc(slices.Clone(services), func(s *ir.Service) bool {
		return len(s.Selector) == 0 || !s.Selector.SubsetOf(labels)
	})
	slices.SortFunc(selecting, func(a, b *ir.Service) int { return a.From.Compare(b.From) })
	byTarget := map[uint16]*InboundPort{}
	var order []uint16
	for _, s := range selecting {
		for _, p := range s.Ports {
			target := p.Target
			if p.TargetName != "" {
				target = c.NamedPort(p.TargetName)
			}
			if p.Protocol == ir.UDP || target == 0 || slices.Contains(reserved(), target) {
				continue
			}
			in := byTarget[target]
			if in == nil {
				in = &InboundPort{First: s, Port: p.Number, Listener: listener.InboundPort{
					Port: target, Protocol: p.Protocol, Host: s.ID.Host, ServicePort: p.Number,
				}}
				byTarget[target] = in
				order = append(order, target)
			}
			if owner := cluster.OwnerOf(*s); !slices.Contains(in.Owners, owner) {
				in.Owners = append(in.Owners, owner)
			}
		}
	}
	slices.SortFunc(order, cmp.Compare)
	out := make([]InboundPort, len(order))
	for i, target := range order {
		out[i] = *byTarget[target]
	}
	return out
}
