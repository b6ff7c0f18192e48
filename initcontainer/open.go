package initcontainer

import (
	"context"
	"fmt"
	"slices"

	"github.com/sluicemesh/sluice/initcontainer/apply/xtables"
	"github.com/sluicemesh/sluice/initcontainer/host"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// open looks at every backend and reads what it holds. It writes nothing, and runs a
// program only where there are tables for it to list.
func (r *run) open(ctx context.Context) error {
	flavours, err := r.flavours()
	if err != nil {
		return err
	}
	for _, flavour := range flavours {
		may := r.Options.Flavour == "" || r.Options.Flavour == string(flavour)
		s, err := r.openTables(flavour)
		if err == nil {
			if s.before, err = s.Read(ctx); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
		switch {
		case err == nil && may:
			r.targets = append(r.targets, s)
		case err == nil:
			r.others = append(r.others, s)
		case may:
			r.problems = append(r.problems, err)
		default:
			r.Log.Warn("cannot tell whether another backend holds rules, too", "error", err)
		}
	}
	// Rules of an earlier run stay where they are.
	slices.SortStableFunc(r.targets, func(a, b *store) int {
		return later(a.holdsOurs()) - later(b.holdsOurs())
	})
	return nil
}

// openTables opens one flavour of iptables.
func (r *run) openTables(flavour host.Flavour) (*store, error) {
	s := &store{name: rule.IPTablesNft}
	if flavour == host.Legacy {
		s.name = rule.IPTablesLegacy
	}
	k, err := xtables.Open(flavour, r.families)
	if err != nil {
		return s, fmt.Errorf("%s: %w", s.name, err)
	}
	s.kernel = k
	return s, nil
}

// flavours lists those of iptables in the order of preference: where legacy tables exist
// in this namespace, others use them and so do we.
func (r *run) flavours() ([]host.Flavour, error) {
	for _, f := range r.families {
		legacy, err := host.InUse(f, host.Legacy)
		if err != nil {
			return nil, err
		}
		if legacy {
			return []host.Flavour{host.Legacy, host.Nft}, nil
		}
	}
	return []host.Flavour{host.Nft, host.Legacy}, nil
}
