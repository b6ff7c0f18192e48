// Package nft keeps the interception rules in nf_tables, over netlink: without a program,
// and all of them in one transaction.
//
// Each table of the plan is a table here, of each address family (`ip istio-proxy-nat`,
// `ip6 istio-proxy-nat`, and so on). They hold nothing but the interception's chains, so
// what stands in them is ours and all else is not touched. Rules come from package plan as
// rule.Sets, are lowered to the kernel's expressions (google/nftables), and are read back
// from the kernel's own listing, which also tells what others have put at the same hooks.
//
// It works on the network namespace of the calling thread, and decides nothing.
package nft

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Kernel is nf_tables as seen from here. It remembers what it read, until something
// changes. It is not for use by several goroutines at once. The zero Kernel is ready.
type Kernel struct {
	last *snapshot
	buf  []byte
}

// families lists the two, for whom all is done alike.
func families() []rule.Family { return []rule.Family{rule.IPv4, rule.IPv6} }

var (
	// errAbsent is what every request ends in where the kernel lacks nf_tables.
	errAbsent = errors.New("the kernel has no nf_tables: load module nf_tables on the node, or use iptables-legacy")
	// errChanged says that somebody wrote between two of our requests.
	errChanged = errors.New("the rules of this namespace keep changing: something else writes to nf_tables")
)

// patience is how often a request is repeated that others' writing got in the way of.
const patience = 20

// Read returns the interception's rules of both families as the kernel holds them. A
// family that has none has no entry. What does not work as planned, however it came to be
// (an altered rule, a chain at another hook, a sleeping table), never equals what was
// planned. A kernel without nf_tables holds nothing.
func (k *Kernel) Read(ctx context.Context) (map[rule.Family]rule.Sets, error) {
	s, err := k.snapshot(ctx)
	if err != nil {
		return nil, fmt.Errorf("read nftables: %w", err)
	}
	out := maps.Clone(s.sets())
	for f, sets := range out {
		out[f] = maps.Clone(sets)
	}
	return out, nil
}

// Listing returns all that packets of family f meet in nf_tables when they reach the host
// and when a process sends them, tables of others and those of iptables-nft included. Rules
// that this program does not understand are there, with matches and targets that say so.
func (k *Kernel) Listing(ctx context.Context, f rule.Family) (rule.Listing, error) {
	s, err := k.snapshot(ctx)
	if err != nil {
		return rule.Listing{}, fmt.Errorf("list nftables: %w", err)
	}
	return s.listing(f), nil
}

// Swap turns from, which must be what Read returned, into to, in one transaction for all
// tables of both families. Each table answers a packet with the old rules or the new ones,
// never with a mixture or none. Where inbound connections that were redirected are to be
// diverted, or the other way round, it takes two: see Stages.
//
// On an error nothing has changed, or both ways are in force. It fails when another
// program has changed the interception's rules since they were read.
func (k *Kernel) Swap(ctx context.Context, from, to map[rule.Family]rule.Sets) error {
	for i, stage := range Stages(from, to) {
		if i > 0 {
			Settle()
		}
		if err := k.load(ctx, from, stage); err != nil {
			return fmt.Errorf("load nftables: %w", err)
		}
		if err := ForgetAttempts(from, stage); err != nil {
			return err
		}
		from = stage
	}
	return nil
}

// load is one transaction. It starts again when another program's came before it.
func (k *Kernel) load(ctx context.Context, from, to map[rule.Family]rule.Sets) error {
	for range patience {
		s, err := k.snapshot(ctx)
		if err != nil {
			return err
		}
		if !sameSets(s.sets(), from) {
			return errors.New("the interception's rules are not what they were when they were read: something else changes them")
		}
		b, err := k.newBatch(s, to)
		if err != nil {
			return err
		}
		if err := b.commit(); !errors.Is(err, errChanged) {
			return err
		}
	}
	return errChanged
}

// sameSets reports whether a and b hold the same chains and rules.
func sameSets(a, b map[rule.Family]rule.Sets) bool {
	for _, f := range families() {
		for _, t := range rule.Tables() {
			if !sameSet(a[f][t], b[f][t]) {
				return false
			}
		}
	}
	return true
}

// sameSet reports whether a and b hold the same chains, in any order, and in each the same
// rules.
func sameSet(a, b rule.Set) bool {
	if len(a.Rules) != len(b.Rules) || !slices.Equal(slices.Sorted(slices.Values(a.Chains)), slices.Sorted(slices.Values(b.Chains))) {
		return false
	}
	chains := map[rule.Chain]bool{}
	for _, r := range a.Rules {
		chains[r.Chain] = true
	}
	for c := range chains {
		if !slices.EqualFunc(a.In(c), b.In(c), rule.Rule.Equal) {
			return false
		}
	}
	return true
}
