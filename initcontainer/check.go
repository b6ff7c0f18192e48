package initcontainer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sluicemesh/sluice/initcontainer/rule"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

// check proves that the kernel does what is wanted: that it holds the rules that were
// planned and no others of ours, and that with them, and with those of others, every packet
// goes where it should.
func (r *run) check(ctx context.Context, target *store) error {
	for _, s := range r.stores() {
		held, err := s.Read(ctx)
		if err != nil {
			return fmt.Errorf("verify: %s: %w", s.name, err)
		}
		for _, f := range r.families {
			if err := verify.Compare(r.goal(s, target)[f], held[f]); err != nil {
				return err
			}
		}
	}
	for _, f := range r.families {
		if err := r.checkAround(f); err != nil {
			return err
		}
		if err := r.prove(ctx, f, target); err != nil {
			return err
		}
	}
	return nil
}

// prove walks every kind of packet through the rules in force. Since ours are as planned,
// only rules of others can lead one astray. One that certainly takes what is to be captured
// is a leak, and the pod does not start: whoever wants it excludes those packets by the
// pod's settings, too. One whose conditions are not known here is named in the log.
func (r *run) prove(ctx context.Context, f rule.Family, target *store) error {
	if target == nil {
		return nil
	}
	l, err := r.listing(ctx, f)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	err = verify.Prove(r.Capture, f, l)
	var disproof *verify.Disproof
	if !errors.As(err, &disproof) || disproof.Certain() {
		return err
	}
	r.Log.Warn("rules of others may change what is captured", "family", f,
		"example", disproof.Differences[0].String(), "more", len(disproof.Differences)-1+disproof.More)
	return nil
}

// listing is everything that packets of a family meet.
func (r *run) listing(ctx context.Context, f rule.Family) (rule.Listing, error) {
	all := rule.Listing{Rules: map[rule.Place][]rule.Rule{}}
	for _, s := range r.stores() {
		if s.name == rule.IPTablesNft {
			continue // is in nf_tables, of which the native backend lists all
		}
		l, err := s.Listing(ctx, f)
		if err != nil {
			return all, fmt.Errorf("%s: %w", s.name, err)
		}
		all.Bases = append(all.Bases, l.Bases...)
		maps.Copy(all.Rules, l.Rules)
	}
	return all, nil
}

func (r *run) checkAround(f rule.Family) error {
	if !r.marked {
		return nil
	}
	now, err := r.lookAround(f)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	for _, want := range r.wantAround(f).routed {
		if !slices.Contains(now.routed, want) {
			return &verify.Mismatch{Differences: []string{
				fmt.Sprintf("routing: missing %s rule or local route for packets with mark %d in table %d", f, want.Mark, want.Table),
			}}
		}
	}
	return nil
}
