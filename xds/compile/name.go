package compile

import (
	"github.com/sluicemesh/sluice/xds/envoy"
	"github.com/sluicemesh/sluice/xds/envoy/name"
	"github.com/sluicemesh/sluice/xds/incr"
	"github.com/sluicemesh/sluice/xds/ir"
)

// nameRecipe makes the part of the table of host names that one service is.
type nameRecipe struct {
	service *ir.Service
	key     name.Key
}

func (r nameRecipe) make(ctx *incr.Ctx, n *nodes) *envoy.Resource {
	var members []ir.SliceEndpoint
	if name.UsesMembers(*r.service) {
		members = n.named(ctx, r.service)
	}
	body := name.Build(*r.service, members, r.key)
	if body == nil {
		return nil
	}
	return envoy.EncodeBytes(envoy.NameTableType, r.service.ID.Host, body, r.service.From)
}

// named are the members of a service as DNS sees them: whatever ports they have.
func (n *nodes) named(ctx *incr.Ctx, s *ir.Service) []ir.SliceEndpoint {
	var out []ir.SliceEndpoint
	if s.Registry == ir.Kubernetes {
		for _, o := range incr.Lookup(ctx, n.index.slices, ir.ServiceID{Namespace: s.ID.Namespace, Host: s.Name}) {
			for _, slice := range o.Slices {
				if slice.Service == s.Name {
					out = append(out, slice.Endpoints...)
				}
			}
		}
		return out
	}
	for _, p := range s.Ports {
		if eps, ok := incr.Get(ctx, n.endpoints, ir.EndpointsKey{Service: s.ID, Port: p.Number}); ok {
			for _, e := range eps.Endpoints {
				out = append(out, ir.SliceEndpoint{Addresses: []string{e.Address}, Health: e.Health})
			}
		}
	}
	return out
}
