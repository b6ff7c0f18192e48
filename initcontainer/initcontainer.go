// Package initcontainer makes the kernel send a pod's TCP traffic through its proxy, makes
// sure that it does, and undoes it again.
//
// Run detects what the host offers, plans the rules, applies them and verifies them. It
// acts on the network namespace of the calling thread and fails closed: where the traffic
// that was asked for cannot be captured, nothing is, and the pod does not start.
package initcontainer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"time"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/apply"
	"github.com/sluicemesh/sluice/initcontainer/host"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

// Config is what Run needs. All fields must be set.
type Config struct {
	Capture capture.Config
	Options capture.Options
	Log     *slog.Logger
	Out     io.Writer // where a dry run prints the rules
}

// Run makes the kernel hold the rules of c.Capture and no others of ours, in IPv4 and,
// where the pod has it, in IPv6; with Options.CleanupOnly, or mode NONE, none. Rules that
// are as they should be are not touched; rules of an earlier run that differ are replaced
// without a moment in between. Rules of others stay as they are.
//
// On an error what was there before is there again: in a new pod, nothing. The error is a
// *verify.Mismatch when the kernel took the rules but holds something else. Afterwards
// the rules stay; nothing keeps running.
func Run(ctx context.Context, c Config) error {
	// Namespaces belong to threads. Children are started from this one, too.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := c.Capture.Validate(); err != nil && !c.Options.CleanupOnly {
		return err
	}
	start := time.Now()
	families, err := host.ReadFamilies()
	if err != nil {
		return err
	}
	if families.None() && c.captures() {
		return errors.New("the pod has no IPv4 or IPv6 address beside loopback and link-local ones: nothing to capture")
	}
	if c.Options.DryRun {
		return c.print(families)
	}
	steps, err := c.open(ctx, families)
	if err != nil {
		return err
	}
	if err := c.applyAll(ctx, steps); err != nil {
		return err
	}
	c.Log.Info("interception is as configured", "mode", c.Capture.Mode, "cleanup", c.Options.CleanupOnly, "took", time.Since(start))
	return nil
}

// captures reports whether this run is to leave any rule behind.
func (c Config) captures() bool {
	return c.Capture.Mode != capture.None && !c.Options.CleanupOnly
}

// wanted is the set that the kernel is to hold.
func (c Config) wanted(f rule.Family) rule.Set {
	if !c.captures() {
		return rule.Set{}
	}
	return plan.Build(c.Capture, f)
}

// print writes what a run into an empty table would load.
func (c Config) print(families host.Families) error {
	list := []rule.Family{rule.IPv4}
	if families.IPv6 || families.IPv6Enabled {
		list = append(list, rule.IPv6)
	}
	for _, f := range list {
		if _, err := fmt.Fprintf(c.Out, "# %s\n%s", f, rule.Swap(rule.Set{}, c.wanted(f))); err != nil {
			return fmt.Errorf("print %s rules: %w", f, err)
		}
	}
	return nil
}

// step is the work for one family.
type step struct {
	tables apply.Tables
	want   rule.Set
	before rule.Set // what the kernel held when the step began
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
	s := step{tables: apply.Tables{Tool: tool}, want: c.wanted(f)}
	if tool.Ours {
		s.before, err = s.tables.Read(ctx)
	}
	return s, err
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
	if err := setAddress(tool.Family, s.want); err != nil {
		return err
	}
	log := c.Log.With("family", tool.Family, "flavour", tool.Flavour, "rules", len(s.want.Rules))
	if verify.Compare(s.want, s.before) == nil {
		log.Info("nothing to change")
		return nil
	}
	if err := s.tables.Swap(ctx, s.before, s.want); err != nil {
		return err
	}
	if err := verify.Check(ctx, s.tables, s.want); err != nil {
		return err
	}
	log.Info("rules loaded and verified", "replaced", len(s.before.Rules))
	return nil
}

// setAddress gives lo the address that the proxy calls the application from, or takes it
// away where set has no rules. Only IPv6 needs that.
func setAddress(f rule.Family, set rule.Set) error {
	switch {
	case f == rule.IPv4:
		return nil
	case set.Empty():
		return apply.RemoveLoopback(plan.ProxySource(f))
	default:
		return apply.AddLoopback(plan.ProxySource(f))
	}
}

// undo brings back what the kernel held when the step began, whatever it holds now.
func (s step) undo(ctx context.Context) error {
	now, err := s.tables.Read(ctx)
	if err != nil {
		return fmt.Errorf("undo: %w", err)
	}
	// A transaction that failed has left the rules as they were.
	if verify.Compare(s.before, now) != nil {
		if err := s.tables.Swap(ctx, now, s.before); err != nil {
			return fmt.Errorf("undo: %w", err)
		}
	}
	if err := setAddress(s.tables.Tool.Family, s.before); err != nil {
		return fmt.Errorf("undo: %w", err)
	}
	return nil
}
