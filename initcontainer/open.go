package initcontainer

import (
	"context"
	"fmt"
	"slices"

	"github.com/sluicemesh/sluice/initcontainer/apply/nft"
	"github.com/sluicemesh/sluice/initcontainer/apply/xtables"
	"github.com/sluicemesh/sluice/initcontainer/host"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// open looks at every backend and reads what it holds. It writes nothing, and runs a
// program only where there are legacy tables for it to list.
func (r *run) open(ctx context.Context) error {
	r.native = &nft.Kernel{}
	if err := r.take(ctx, &store{kernel: r.native, name: rule.NFTables}, r.Options.NativeNftables); err != nil {
		return err
	}
	flavours, err := r.flavours()
	if err != nil {
		return err
	}
	for _, flavour := range flavours {
		wanted := !r.Options.NativeNftables && (r.Options.Flavour == "" || r.Options.Flavour == string(flavour))
		s, err := r.openTables(flavour)
		switch {
		case err == nil:
			if err := r.take(ctx, s, wanted); err != nil {
				return err
			}
		case wanted:
			r.problems = append(r.problems, err)
		default: // what has no program here has most likely no rules
			r.Log.Debug("cannot tell whether another backend holds rules", "error", err)
		}
	}
	// Rules of an earlier run stay where they are.
	slices.SortStableFunc(r.targets, func(a, b *store) int {
		return later(a.holdsOurs()) - later(b.holdsOurs())
	})
	return nil
}

// take reads what a store holds and takes it in, as a target or as one of the others.
func (r *run) take(ctx context.Context, s *store, target bool) (err error) {
	if s.before, err = s.Read(ctx); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	if target {
		r.targets = append(r.targets, s)
	} else {
		r.others = append(r.others, s)
	}
	return nil
}

// openTables opens one flavour of iptables.
func (r *run) openTables(flavour host.Flavour) (*store, error) {
	s := &store{name: rule.IPTablesNft}
	if flavour == host.Legacy {
		s.name = rule.IPTablesLegacy
	}
	o := xtables.Options{Families: r.families, Nft: r.native}
	if r.Options.CNIMode {
		o.LockFile = r.Options.NetworkNamespace
	}
	k, err := xtables.Open(flavour, o)
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
		legacy, err := host.LegacyInUse(f)
		if err != nil {
			return nil, err
		}
		if legacy {
			return []host.Flavour{host.Legacy, host.Nft}, nil
		}
	}
	return []host.Flavour{host.Nft, host.Legacy}, nil
}
