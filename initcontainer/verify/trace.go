package verify

import (
	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/model"
	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Tracing is what becomes of one packet, and what was intended.
type Tracing struct {
	Packet packet.Packet
	Want   packet.Outcome
	// Ways has one way, or several where conditions or targets on it are not known.
	Ways []model.Way
}

// Agrees reports whether the packet goes where it should, whatever is not known.
func (t Tracing) Agrees() bool {
	for _, w := range t.Ways {
		if !w.Outcome.Satisfies(t.Want) && !foreignMatter(w, t.Want) {
			return false
		}
	}
	return len(t.Ways) > 0
}

// Trace takes packet one of family f through the rules of l and asks what c wants for it. c
// must pass its Validate; the addresses of one must be of the family.
func Trace(c capture.Config, f rule.Family, l rule.Listing, one packet.Packet) Tracing {
	p := newProof(c, f, l, packet.SetsOf(one)...)
	return Tracing{Packet: one, Want: p.wish.Of(one), Ways: p.model.Trace(p.space.Only(one))}
}
