package netlab

import (
	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/model"
	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Leaks lists packets of family f that the plans of both configurations capture and that
// rules found in between let go, one for each place where that happens.
func Leaks(f rule.Family, before, after capture.Config, found rule.Listing) []string {
	routing := model.Routing{Mark: before.TProxyMark, Marked: before.Mode == capture.TProxy || after.Mode == capture.TProxy}
	models := []*model.Model{
		model.New(rule.ListingOf(rule.IPTablesNft, plan.Build(before, f).Rules), f, routing),
		model.New(rule.ListingOf(rule.IPTablesNft, plan.Build(after, f).Rules), f, routing),
		model.New(found, f, routing),
	}
	self := packet.Marked(before.TProxyMark + 1)
	sets := []*packet.Set{&self}
	for _, m := range models {
		sets = append(sets, m.Sets()...)
	}
	space := packet.NewSpace(f, sets)
	for _, m := range models {
		m.Bind(space)
	}
	var leaks []string
	for _, class := range space.Possible(f, true, before.TProxyMark+1) {
		models[0].Explore(class, func(old model.Way) bool {
			return !captures(old) || models[1].Explore(old.Class, func(now model.Way) bool {
				return !captures(now) || models[2].Explore(now.Class, func(between model.Way) bool {
					if between.Outcome.Verdict == packet.Alone {
						leaks = append(leaks, between.Class.Example().String()+": "+between.By())
					}
					return len(leaks) < 8
				})
			})
		})
	}
	return leaks
}

func captures(w model.Way) bool {
	return w.Outcome.Verdict == packet.Redirected || w.Outcome.Verdict == packet.Diverted
}
