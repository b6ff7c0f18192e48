package initcontainer

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluicemesh/sluice/initcontainer/apply"
	"github.com/sluicemesh/sluice/initcontainer/host"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

// step is the work for one family.
type step struct {
	tables  apply.Tables
	routing apply.Routing
	want    plan.Plan
	before  plan.Plan // what the kernel held when the step began
}

// open finds the programs for each family that counts and reads what the kernel holds,
// before anything is written. IPv4 is always captured. IPv6 is too wherever lo takes such
// addresses, but only for a pod that has one of its own is it an error that no program can.
func (c Config) open(ctx context.Context, families host.Families) ([]step, error) {
	first, err := c.step(ctx, rule.IPv4)
	if err != nil {
		return nil, err
	}
	if !families.IPv6 && !families.IPv6Enabled {
		return []step{first}, nil
	}
	second, err := c.step(ctx, rule.IPv6)
	if err != nil && families.IPv6 {
		return nil, err
	}
	if err != nil {
		c.Log.Warn("IPv6 is not captured; the pod has no IPv6 address", "error", err)
		return []step{first}, nil
	}
	return []step{first, second}, nil
}

func (c Config) step(ctx context.Context, f rule.Family) (step, error) {
	tool, err := host.FindTool(f, host.Flavour(c.Options.Flavour))
	if err != nil {
		return step{}, err
	}
	s := step{
		tables:  apply.Tables{Tool: tool},
		routing: apply.Routing{Family: f, Mark: c.Capture.TProxyMark, Table: c.Capture.TProxyTable},
		want:    c.wanted(f),
	}
	if tool.Ours || s.want.RouteMarked || c.Options.CleanupOnly {
		s.before, err = s.now(ctx)
	}
	return s, err
}

// now reads what the kernel holds. A namespace without a chain of ours in table nat has
// none elsewhere.
func (s step) now(ctx context.Context) (p plan.Plan, err error) {
	p.RouteMarked, err = s.routing.In()
	if err != nil {
		return p, err
	}
	p.Rules, err = s.tables.Read(ctx)
	return p, err
}

// applyAll takes the steps one by one. When one fails, it and those before it are undone.
func (c Config) applyAll(ctx context.Context, steps []step) error {
	for i := range steps {
		if err := c.applyOne(ctx, steps[i]); err != nil {
			// The undoing must not be cut short by what ended ctx.
			undo := context.WithoutCancel(ctx)
			errs := []error{err}
			for j := i; j >= 0; j-- {
				errs = append(errs, steps[j].undo(undo))
			}
			return errors.Join(errs...)
		}
	}
	return nil
}

// applyOne makes the kernel hold s.want, which it proves by reading it back.
func (c Config) applyOne(ctx context.Context, s step) error {
	tool := s.tables.Tool
	log := c.Log.With("family", tool.Family, "flavour", tool.Flavour, "rules", s.want.Rules.Len())
	if err := setAddress(tool.Family, s.want.Rules); err != nil {
		return err
	}
	if s.want.RouteMarked == s.before.RouteMarked && verify.Compare(s.want.Rules, s.before.Rules) == nil {
		log.Info("nothing to change")
		return nil
	}
	if err := s.load(ctx, s.before, s.want); err != nil {
		return err
	}
	if err := s.check(ctx); err != nil {
		return err
	}
	log.Info("rules loaded and verified", "replaced", s.before.Rules.Len())
	return nil
}

// load turns from, which the kernel holds, into to. Marked packets are routed before the
// first is marked and until the last is.
func (s step) load(ctx context.Context, from, to plan.Plan) error {
	if to.RouteMarked {
		if err := s.routing.Add(); err != nil {
			return err
		}
	}
	if err := s.tables.Swap(ctx, from.Rules, to.Rules); err != nil {
		return err
	}
	if from.RouteMarked && !to.RouteMarked {
		return s.routing.Remove()
	}
	return nil
}

// check reads the kernel and compares it with what is wanted.
func (s step) check(ctx context.Context) error {
	if s.want.RouteMarked {
		in, err := s.routing.In()
		if err != nil {
			return fmt.Errorf("verify: %w", err)
		}
		if !in {
			return &verify.Mismatch{Differences: []string{
				fmt.Sprintf("routing: missing rule or local route for packets with mark %d in table %d", s.routing.Mark, s.routing.Table),
			}}
		}
	}
	return verify.Check(ctx, s.tables, s.want.Rules)
}

// setAddress gives lo the address that the proxy calls the application from, or takes it
// away where there are no rules. Only IPv6 needs that.
func setAddress(f rule.Family, sets rule.Sets) error {
	switch {
	case f == rule.IPv4:
		return nil
	case sets.Empty():
		return apply.RemoveLoopback(plan.ProxySource(f))
	default:
		return apply.AddLoopback(plan.ProxySource(f))
	}
}

// undo brings back what the kernel held when the step began, whatever it holds now.
func (s step) undo(ctx context.Context) error {
	now, err := s.now(ctx)
	if err != nil {
		return fmt.Errorf("undo: %w", err)
	}
	// A transaction that failed has left the rules as they were.
	if now.RouteMarked != s.before.RouteMarked || verify.Compare(s.before.Rules, now.Rules) != nil {
		if err := s.load(ctx, now, s.before); err != nil {
			return fmt.Errorf("undo: %w", err)
		}
	}
	if err := setAddress(s.tables.Tool.Family, s.before.Rules); err != nil {
		return fmt.Errorf("undo: %w", err)
	}
	return nil
}
