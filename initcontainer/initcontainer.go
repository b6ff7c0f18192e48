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

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/host"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/probe"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// lockWait is how long a run waits for another: many times what one takes.
const lockWait = 5 * time.Second

// Config is what Run needs. All fields but Resolvers must be set.
type Config struct {
	Capture capture.Config
	Options capture.Options
	Log     *slog.Logger
	Out     io.Writer // where a dry run prints the rules
	// Resolvers is the file that lists the pod's servers for DNS; "" is the usual one.
	Resolvers string
}

// Run makes the kernel hold the rules of c.Capture and no others of ours, in IPv4 and,
// where the pod has it, in IPv6; with Options.CleanupOnly, or mode NONE, none. Rules that
// are as they should be are not touched; rules of an earlier run that differ are replaced
// without a moment in between. Rules of others stay as they are.
//
// On an error what was there before is there again: in a new pod, nothing. The error is a
// *verify.Mismatch when the kernel took the rules but holds something else, and a
// *verify.Disproof when it holds them and some packet goes elsewhere. Afterwards the rules
// stay; nothing keeps running. Killed at any moment, it leaves the old rules in force or the
// new, or both, and the next run repairs that.
//
// With Options.SkipApply no rule is read or written. With Options.Validate the rules in
// force, then another program's, must capture a connection; the error is a
// *probe.NotCaptured if they do not.
//
// With Options.NetworkNamespace it acts on that namespace instead of the calling thread's.
func Run(ctx context.Context, c Config) error {
	if file := c.Options.NetworkNamespace; file != "" {
		return host.Within(file, func() error { return c.here(ctx) })
	}
	return c.here(ctx)
}

func (c Config) here(ctx context.Context) error {
	// Namespaces belong to threads. Children are started from this one, too.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := c.Capture.Validate(); err != nil && !c.Options.CleanupOnly {
		return err
	}
	c = c.completed()
	start := time.Now()
	link, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("ask the kernel for addresses and routes: %w", err)
	}
	defer link.Close()
	families, err := host.ReadFamilies(link)
	if err != nil {
		return err
	}
	if families.None() && c.captures() {
		return errors.New("the pod has no IPv4 or IPv6 address beside loopback and link-local ones: nothing to capture")
	}
	if c.Options.DryRun || c.Options.Explain {
		return c.print(families)
	}
	if !c.Options.SkipApply {
		if err := c.alone(ctx, func() error { return c.load(ctx, link, families) }); err != nil {
			return err
		}
	}
	if c.Options.Validate && c.captures() {
		if err := c.probe(ctx, families); err != nil {
			return err
		}
	}
	c.Log.Info("interception is as configured", "mode", c.Capture.Mode, "cleanup", c.Options.CleanupOnly,
		"loaded", !c.Options.SkipApply, "took", time.Since(start))
	return nil
}

// alone calls load while no other run is at work in the namespace: two that replace each
// other's rules would both find something else than they wrote. Where another does not end,
// or a container of the pod keeps the lock, it goes on: the proof tells whether that went well.
func (c Config) alone(ctx context.Context, load func() error) error {
	lock, err := host.Lock(ctx, lockWait)
	if errors.Is(err, host.ErrBusy) {
		c.Log.Warn("not waiting any longer", "error", err, "waited", lockWait)
		return load()
	}
	if err != nil {
		return err
	}
	return errors.Join(load(), lock.Close())
}

// probe finds out whether the rules of another program are in force: in the family of the
// pod's first address, and in both where it is said to have both.
func (c Config) probe(ctx context.Context, families host.Families) error {
	list := []rule.Family{rule.IPv4}
	switch {
	case !families.IPv4:
		list = []rule.Family{rule.IPv6}
	case families.IPv6 && c.Options.DualStack:
		list = append(list, rule.IPv6)
	}
	for _, f := range list {
		err := probe.Run(ctx, probe.Config{
			Family: f, Ports: []uint16{c.Capture.OutboundPort, c.Capture.InboundPort},
			Target: c.Options.ProbePort, Timeout: c.Options.ProbeTimeout,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// captures reports whether this run is to leave any rule behind.
func (c Config) captures() bool {
	return c.Capture.Mode != capture.None && !c.Options.CleanupOnly
}

// wanted is what the kernel is to hold.
func (c Config) wanted(f rule.Family) plan.Plan {
	if !c.captures() {
		return plan.Plan{}
	}
	return plan.Build(c.Capture, f)
}
