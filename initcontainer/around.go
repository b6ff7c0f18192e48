package initcontainer

import (
	"context"
	"fmt"

	"github.com/sluicemesh/sluice/initcontainer/apply"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

// prepare sets up what rules need to be there before them: the routing of marked packets,
// and on lo the address that the proxy calls the application from. Only IPv6 needs that.
func (r *run) prepare(marked bool, want map[rule.Family]rule.Sets) error {
	for _, f := range r.families {
		if marked {
			if err := r.routing(f).Add(); err != nil {
				return err
			}
		}
		if f == rule.IPv6 && !want[f].Empty() {
			if err := apply.AddLoopback(plan.ProxySource(f)); err != nil {
				return err
			}
		}
	}
	return nil
}

// retire removes what no rule needs any more.
func (r *run) retire(marked bool, want map[rule.Family]rule.Sets) error {
	for _, f := range r.families {
		if !marked {
			if err := r.routing(f).Remove(); err != nil {
				return err
			}
		}
		if f == rule.IPv6 && want[f].Empty() {
			if err := apply.RemoveLoopback(plan.ProxySource(f)); err != nil {
				return err
			}
		}
	}
	return nil
}

// forget removes the routing that rules of an earlier run needed, with numbers of its own.
// It comes after the last step that can fail otherwise: undoing does not bring it back.
func (r *run) forget() error {
	for _, f := range r.families {
		for _, s := range r.stores() {
			for _, mark := range s.before[f].Marks() {
				found, err := apply.RoutingsOf(f, mark)
				if err != nil {
					return err
				}
				for _, old := range found {
					if r.marked && old == r.routing(f) {
						continue
					}
					if err := old.Remove(); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// check proves that the kernel does what is wanted.
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
		if err := r.checkRouting(f); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) checkRouting(f rule.Family) error {
	if !r.marked {
		return nil
	}
	routing := r.routing(f)
	in, err := routing.In()
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if in {
		return nil
	}
	return &verify.Mismatch{Differences: []string{
		fmt.Sprintf("routing: missing rule or local route for packets with mark %d in table %d", routing.Mark, routing.Table),
	}}
}

// undo brings back what the kernel held when the run began, whatever it holds now.
func (r *run) undo(ctx context.Context) error {
	marked := false
	before := map[rule.Family]rule.Sets{}
	for _, f := range r.families {
		marked = marked || r.routed[f]
		for _, s := range r.stores() {
			if !s.before[f].Empty() {
				before[f] = s.before[f]
			}
		}
	}
	if err := r.prepare(marked, before); err != nil {
		return fmt.Errorf("undo: %w", err)
	}
	for _, s := range r.stores() {
		if err := s.restore(ctx, r.families); err != nil {
			return fmt.Errorf("undo: %s: %w", s.name, err)
		}
	}
	if err := r.retire(marked, before); err != nil {
		return fmt.Errorf("undo: %w", err)
	}
	return nil
}

// restore swaps in what the store held. A transaction that failed has left it as it was.
func (s *store) restore(ctx context.Context, families []rule.Family) error {
	now, err := s.Read(ctx)
	if err != nil {
		return err
	}
	for _, f := range families {
		if verify.Compare(s.before[f], now[f]) != nil {
			return s.Swap(ctx, now, s.before)
		}
	}
	return nil
}
