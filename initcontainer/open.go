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
// program only where there are tables for it to list.
func (r *run) open(ctx context.Context) error {
	if err := r.openNative(ctx); err != nil {
		return err
	}
	flavours, err := r.flavours()
	if err != nil {
		return err
	}
	for _, flavour := range flavours {
		may := !r.Options.NativeNftables && (r.Options.Flavour == "" || r.Options.Flavour == string(flavour))
		if used, err := r.inUse(flavour); err == nil && !used && !may {
			continue // nothing to look at, so an image need not have the programs
		}
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

// openNative opens nftables' own tables.
func (r *run) openNative(ctx context.Context) (err error) {
	s := &store{kernel: &nft.Kernel{}, name: rule.NFTables}
	if s.before, err = s.Read(ctx); err != nil {
		return err
	}
	if r.Options.NativeNftables {
		r.targets = append(r.targets, s)
	} else {
		r.others = append(r.others, s)
	}
	return nil
}

// inUse reports whether a flavour of iptables has tables here.
func (r *run) inUse(flavour host.Flavour) (bool, error) {
	for _, f := range r.families {
		if used, err := host.InUse(f, flavour); used || err != nil {
			return used, err
		}
	}
	return false, nil
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
	legacy, err := r.inUse(host.Legacy)
	if legacy {
		return []host.Flavour{host.Legacy, host.Nft}, err
	}
	return []host.Flavour{host.Nft, host.Legacy}, err
}
