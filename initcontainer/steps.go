package initcontainer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/sluicemesh/sluice/initcontainer/apply/nft"
	"github.com/sluicemesh/sluice/initcontainer/host"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

// kernel is one backend's place for rules in the network namespace of the calling thread.
type kernel interface {
	// Read lists what is the interception's. A family without any has an empty entry or none.
	Read(context.Context) (map[rule.Family]rule.Sets, error)
	// Listing is everything that packets of a family meet in the backend's part of the
	// kernel, rules of others included.
	Listing(context.Context, rule.Family) (rule.Listing, error)
	// Swap turns from, which must be what Read gave, into to. Whatever both capture is
	// captured, or dropped, at each moment. On an error it may have done a part.
	Swap(ctx context.Context, from, to map[rule.Family]rule.Sets) error
}

// store is a kernel and what it held when the run began.
type store struct {
	kernel
	name   rule.Backend
	before map[rule.Family]rule.Sets
}

func (s *store) holdsOurs() bool { return count(s.before) > 0 }

func count(m map[rule.Family]rule.Sets) int {
	n := 0
	for _, sets := range m {
		n += sets.Len()
		for _, set := range sets {
			n += len(set.Chains)
		}
	}
	return n
}

// run is one attempt to make the kernel hold what is wanted, for some families.
type run struct {
	Config
	families []rule.Family
	want     map[rule.Family]rule.Sets
	marked   bool // packets with the mark of TPROXY are to be routed to this host
	before   map[rule.Family]around
	link     *netlink.Handle // of the namespace
	native   *nft.Kernel     // all of nf_tables, whoever writes the rules
	found    host.Families
	// targets are the stores that may take the rules, in order of preference; others are
	// looked at since rules in two places would add up.
	targets, others []*store
	problems        []error // why there are no more targets
}

// load makes the kernel hold what is wanted. IPv4 is always captured. IPv6 is too wherever
// lo takes such addresses, but only for a pod that has one of its own is it an error that
// this is not possible.
func (c Config) load(ctx context.Context, link *netlink.Handle, families host.Families) error {
	if c.captures() && plan.IgnoresGuests(c.Capture) {
		c.Log.Warn("what enters by virtual interfaces is not captured: no outbound range or port is", "interfaces", c.Capture.VirtualInterfaces)
	}
	r := run{Config: c, link: link, found: families, families: []rule.Family{rule.IPv4}}
	if families.IPv6 || families.IPv6Enabled {
		r.families = append(r.families, rule.IPv6)
	}
	err := r.do(ctx)
	if err == nil || families.IPv6 || len(r.families) == 1 || final(ctx, err) {
		return err
	}
	only4 := run{Config: c, link: link, found: families, families: r.families[:1]}
	if only4.do(ctx) != nil {
		return err
	}
	c.Log.Warn("IPv6 is not captured; the pod has no IPv6 address", "error", err)
	return nil
}

// final reports whether another attempt can only end alike.
func final(ctx context.Context, err error) bool {
	var mismatch *verify.Mismatch
	var disproof *verify.Disproof
	return ctx.Err() != nil || errors.As(err, &mismatch) || errors.As(err, &disproof)
}

func (r *run) do(ctx context.Context) error {
	r.want, r.before = map[rule.Family]rule.Sets{}, map[rule.Family]around{}
	for _, f := range r.families {
		p := r.wanted(f)
		r.want[f] = p.Rules
		r.marked = r.marked || p.RouteMarked
	}
	if err := r.open(ctx); err != nil {
		return err
	}
	for _, f := range r.families {
		var err error
		if r.before[f], err = r.lookAround(f); err != nil {
			return err
		}
	}
	return r.apply(ctx)
}

// apply tries the targets until one holds what is wanted, which it proves by reading the
// kernel. What a failed attempt did is undone before the next.
func (r *run) apply(ctx context.Context) error {
	targets := r.targets
	if !r.captures() {
		targets = []*store{nil} // all are to be empty
	} else if len(targets) == 0 {
		return fmt.Errorf("no usable backend: %w", errors.Join(r.problems...))
	}
	retired, err := r.native.Retired(ctx)
	if err != nil {
		return err
	}
	if !retired && r.done(targets[0]) {
		return r.confirm(ctx, targets[0])
	}
	problems := r.problems
	for _, target := range targets {
		err := r.attempt(ctx, target)
		if err == nil {
			return nil
		}
		// The undoing must not be cut short by what ended ctx.
		undone := r.undo(context.WithoutCancel(ctx))
		problems = append(problems, err, undone)
		if undone != nil || final(ctx, err) {
			break
		}
	}
	return errors.Join(problems...)
}

// confirm ends a run that found everything of ours in place. It writes nothing, but proves
// all the same: rules of others may have come since they were loaded.
func (r *run) confirm(ctx context.Context, target *store) error {
	for _, f := range r.families {
		if err := r.prove(ctx, f, target); err != nil {
			return err
		}
		r.Log.Info("nothing to change", "family", f)
	}
	return nil
}

// goal is what a store is to hold when target has the rules.
func (r *run) goal(s, target *store) map[rule.Family]rule.Sets {
	if s == target {
		return r.want
	}
	return nil
}

func (r *run) stores() []*store { return slices.Concat(r.targets, r.others) }

// done reports whether the kernel held what is wanted when the run began.
func (r *run) done(target *store) bool {
	return !slices.ContainsFunc(r.families, func(f rule.Family) bool { return !r.doneFor(f, target) })
}

func (r *run) doneFor(f rule.Family, target *store) bool {
	for _, s := range r.stores() {
		if verify.Compare(r.goal(s, target)[f], s.before[f]) != nil {
			return false
		}
	}
	want, there := r.wantAround(f), r.before[f]
	return slices.Equal(want.routed, there.routed) && len(there.partial) == 0 && want.onLo == there.onLo
}

// attempt loads what is wanted into target and empties all other stores, in this order:
// two captures of one packet agree, none would be a leak. Marked packets are routed before
// the first is marked and until the last is.
func (r *run) attempt(ctx context.Context, target *store) error {
	for _, f := range r.families {
		if err := r.add(f, r.wantAround(f), r.before[f]); err != nil {
			return err
		}
	}
	if err := r.makeTables(ctx, target); err != nil {
		return err
	}
	stores := r.stores()
	slices.SortStableFunc(stores, func(a, b *store) int { return later(a == target) - later(b == target) })
	for _, s := range stores {
		if s != target && !s.holdsOurs() {
			continue
		}
		if err := s.Swap(ctx, s.before, r.goal(s, target)); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	// From here on not everything can be undone: only what nobody needs any more goes.
	if err := r.native.Retire(ctx); err != nil {
		return err
	}
	for _, f := range r.families {
		if err := r.remove(f, r.wantAround(f), r.before[f]); err != nil {
			return err
		}
	}
	if err := r.check(ctx, target); err != nil {
		return err
	}
	r.report(target)
	return nil
}

// makeTables makes the tables that iptables would make by itself, so that the run that
// empties them knows which were not there before.
func (r *run) makeTables(ctx context.Context, target *store) error {
	if target == nil || target.name != rule.IPTablesNft {
		return nil
	}
	tables := map[rule.Family][]rule.Table{}
	for _, f := range r.families {
		for _, t := range rule.Tables() {
			if !r.want[f][t].Empty() {
				tables[f] = append(tables[f], t)
			}
		}
	}
	return r.native.MakeTables(ctx, tables)
}

// later orders what holds before what does not.
func later(first bool) int {
	if first {
		return 0
	}
	return 1
}

func (r *run) report(target *store) {
	for _, f := range r.families {
		replaced := 0
		for _, s := range r.stores() {
			replaced += s.before[f].Len()
		}
		switch {
		case r.doneFor(f, target):
			r.Log.Info("nothing to change", "family", f)
		case target == nil:
			r.Log.Info("rules removed and verified", "family", f, "rules", replaced)
		default:
			r.Log.Info("rules loaded and verified", "family", f, "backend", target.name, "rules", r.want[f].Len(), "replaced", replaced)
		}
	}
}
