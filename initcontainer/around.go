package initcontainer

import (
	"context"
	"fmt"
	"slices"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/apply"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

// around is what one family needs beside rules: the routing of marked packets, and on lo
// the address that the proxy calls the application from. Only IPv6 needs that.
type around struct {
	routed  []apply.Routing
	partial []apply.Routing // of which a half is there
	onLo    bool
}

// lookAround reads what there is. It needs to know what the stores hold.
func (r *run) lookAround(f rule.Family) (a around, err error) {
	// Other options, or another version, may have used another mark.
	marks := []uint32{r.Capture.TProxyMark, capture.DefaultTProxyMark}
	for _, s := range r.stores() {
		marks = append(marks, s.before[f].Marks()...)
	}
	var tables []int
	if r.marked || r.Options.CleanupOnly {
		tables = []int{r.Capture.TProxyTable}
	}
	a.routed, a.partial, err = apply.Find(r.link, f, marks, tables)
	a.onLo = f == rule.IPv6 && slices.Contains(r.found.OnLo, plan.ProxySource(f).Addr())
	return a, err
}

// wantAround is what is to be there.
func (r *run) wantAround(f rule.Family) around {
	a := around{onLo: f == rule.IPv6 && !r.want[f].Empty()}
	if r.marked {
		a.routed = []apply.Routing{{Family: f, Mark: r.Capture.TProxyMark, Table: r.Capture.TProxyTable}}
	}
	return a
}

// add makes what is in a and not in there.
func (r *run) add(f rule.Family, a, there around) error {
	for _, routing := range a.routed {
		if slices.Contains(there.routed, routing) {
			continue
		}
		if err := routing.Add(r.link); err != nil {
			return err
		}
	}
	if a.onLo && !there.onLo {
		return apply.AddLoopback(r.link, plan.ProxySource(f))
	}
	return nil
}

// remove takes away what is in there and not in a.
func (r *run) remove(f rule.Family, a, there around) error {
	for _, routing := range slices.Concat(there.routed, there.partial) {
		if slices.Contains(a.routed, routing) {
			continue
		}
		if err := routing.Remove(r.link); err != nil {
			return err
		}
	}
	if !a.onLo && there.onLo {
		return apply.RemoveLoopback(r.link, plan.ProxySource(f))
	}
	return nil
}

// undo brings back what the kernel held when the run began, whatever it holds now.
func (r *run) undo(ctx context.Context) error {
	for _, f := range r.families {
		if err := r.add(f, r.before[f], around{}); err != nil {
			return fmt.Errorf("undo: %w", err)
		}
	}
	for _, s := range r.stores() {
		if err := s.restore(ctx, r.families); err != nil {
			return fmt.Errorf("undo: %s: %w", s.name, err)
		}
	}
	if err := r.native.Retire(ctx); err != nil {
		return fmt.Errorf("undo: %w", err)
	}
	for _, f := range r.families {
		if err := r.remove(f, r.before[f], r.wantAround(f)); err != nil {
			return fmt.Errorf("undo: %w", err)
		}
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
