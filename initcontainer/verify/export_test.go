package verify

import (
	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/model"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Proven is whether Prove finds nothing. It ends at the first difference, for tests that ask
// about thousands of listings.
func Proven(c capture.Config, f rule.Family, l rule.Listing) bool {
	p := newProof(c, f, l)
	p.own(c, l)
	nothing := func() bool { return len(p.sure)+len(p.unsure) == 0 }
	for _, class := range p.space.Possible(f, p.marks, p.reserved) {
		p.model.Explore(class, func(w model.Way) bool { return p.compare(w) && nothing() })
		if !nothing() {
			break
		}
	}
	return nothing()
}
