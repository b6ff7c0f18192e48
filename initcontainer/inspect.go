package initcontainer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/host"
	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/rule"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

// Finding is what a proof found in one family.
type Finding struct {
	Family   rule.Family
	Rules    int              // of interception, in force
	Took     time.Duration    // of the proof alone
	Disproof *verify.Disproof // nil where every packet goes where it should
	Routing  error            // what the routing lacks that mode TPROXY needs; nil for nothing
}

// Proven reports whether nothing was found.
func (f Finding) Proven() bool { return f.Disproof == nil && f.Routing == nil }

// Verify reads the rules in force, of whatever backend and of others too, and proves for
// each family of the pod that they do to every packet what c.Capture asks for. It changes
// nothing. An error means that it could not be found out.
func Verify(ctx context.Context, c Config) (found []Finding, err error) {
	err = c.inspect(ctx, func(r *run) error {
		for _, f := range r.families {
			l, err := r.listing(ctx, f)
			if err != nil {
				return err
			}
			one := Finding{Family: f, Rules: owned(l)}
			start := time.Now()
			err = verify.Prove(r.Capture, f, l)
			one.Took = time.Since(start)
			if err != nil && !errors.As(err, &one.Disproof) {
				return err
			}
			var lacks *verify.Mismatch
			if one.Routing = r.checkAround(f); one.Routing != nil && !errors.As(one.Routing, &lacks) {
				return one.Routing
			}
			found = append(found, one)
		}
		return nil
	})
	return found, err
}

// Trace takes packet p through the rules in force. Where p.Out and p.In are both empty, it
// leaves by the interface, and where it has no source from the address, that the pod's
// routes give.
func Trace(ctx context.Context, c Config, p packet.Packet) (out verify.Tracing, err error) {
	err = c.inspect(ctx, func(r *run) error {
		p, err := r.routed(p)
		if err != nil {
			return err
		}
		f := rule.IPv4
		if p.Destination.Is6() {
			f = rule.IPv6
		}
		l, err := r.listing(ctx, f)
		if err == nil {
			out = verify.Trace(r.Capture, f, l, p)
		}
		return err
	})
	return out, err
}

// inspect calls ask in the namespace meant, with every backend opened.
func (c Config) inspect(ctx context.Context, ask func(*run) error) error {
	here := func() error {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := c.Capture.Validate(); err != nil {
			return err
		}
		link, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("ask the kernel for addresses and routes: %w", err)
		}
		defer link.Close()
		families, err := host.ReadFamilies(link)
		if err != nil {
			return err
		}
		r := &run{Config: c.completed(), link: link, found: families, families: []rule.Family{rule.IPv4}}
		if families.IPv6 || families.IPv6Enabled {
			r.families = append(r.families, rule.IPv6)
		}
		for _, f := range r.families {
			r.marked = r.marked || r.wanted(f).RouteMarked
		}
		if err := r.open(ctx); err != nil {
			return err
		}
		return ask(r)
	}
	if file := c.Options.NetworkNamespace; file != "" {
		return host.Within(file, here)
	}
	return here()
}

// owned counts the rules of interception.
func owned(l rule.Listing) int {
	n := 0
	for _, list := range l.Rules {
		for _, r := range list {
			if r.Owned() {
				n++
			}
		}
	}
	return n
}

// routed fills in what the pod's routes say of a packet.
func (r *run) routed(p packet.Packet) (packet.Packet, error) {
	if p.In != "" || p.Out != "" && p.Source.IsValid() {
		return p, nil
	}
	routes, err := r.link.RouteGet(net.IP(p.Destination.AsSlice()))
	if err != nil || len(routes) == 0 {
		return p, fmt.Errorf("route to %s: %w", p.Destination, errors.Join(err, errors.New("name the interface with --out and the source with --from")))
	}
	link, err := r.link.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return p, fmt.Errorf("route to %s: %w", p.Destination, err)
	}
	if p.Out == "" {
		p.Out = link.Attrs().Name
	}
	if source, ok := netip.AddrFromSlice(routes[0].Src); ok && !p.Source.IsValid() {
		p.Source = source.Unmap()
	}
	if !p.Source.IsValid() {
		return p, fmt.Errorf("route to %s: no source address, name one with --from", p.Destination)
	}
	return p, nil
}
