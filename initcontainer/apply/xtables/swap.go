package xtables

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/sluicemesh/sluice/initcontainer/apply/nft"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// lockSeconds is how long a program of flavour legacy waits for another that writes.
// Flavour nft has no lock and takes the option.
const lockSeconds = 30

// Swap turns from, which must be what Read gave, into to. In each table packets meet one
// or the other, never a mixture or nothing. The tables of a family change one after the
// other: in between, and if this process or its children are killed, whatever both capture
// is captured, by the old rules or the new. Where inbound connections move from one table
// to another, both capture them for a while. On an error some tables may have changed.
func (k *Kernel) Swap(ctx context.Context, from, to map[rule.Family]rule.Sets) error {
	k.read = nil
	if slices.ContainsFunc(slices.Collect(maps.Values(from)), func(s rule.Sets) bool { return !s.Empty() }) {
		// Rules are deleted in the words of the program that lists them.
		saved, err := k.readSaved(ctx)
		if err != nil {
			return err
		}
		from = saved
	}
	for i, stage := range nft.Stages(from, to) {
		if i > 0 {
			nft.Settle()
		}
		if err := k.load(ctx, from, stage); err != nil {
			return fmt.Errorf("load rules: %w", k.explain(ctx, err))
		}
		if err := nft.ForgetAttempts(from, stage); err != nil {
			return err
		}
		from = stage
	}
	return nil
}

// load runs a restore program for each family in which something changes.
func (k *Kernel) load(ctx context.Context, from, to map[rule.Family]rule.Sets) error {
	var loads []child
	for _, tool := range k.tools {
		if text := rule.Swap(changed(from[tool.Family], to[tool.Family])); text != "" {
			loads = append(loads, child{family: tool.Family, path: tool.Restore, args: []string{"--noflush", fmt.Sprintf("--wait=%d", lockSeconds)}, stdin: text})
		}
	}
	return k.run(ctx, loads)
}

// changed is the tables of two sets that differ.
func changed(from, to rule.Sets) (rule.Sets, rule.Sets) {
	from, to = maps.Clone(from), maps.Clone(to)
	for _, t := range rule.Tables() {
		if slices.Equal(from[t].Chains, to[t].Chains) && slices.EqualFunc(from[t].Rules, to[t].Rules, rule.Rule.Equal) {
			delete(from, t)
			delete(to, t)
		}
	}
	return from, to
}
