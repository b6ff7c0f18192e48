package xtables

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// waitForLock makes a program of flavour legacy wait for another that writes, in seconds.
// Flavour nft has no lock and takes the option.
const waitForLock = "--wait=30"

// Swap turns from, which must be what Read gave, into to. In each table packets meet one
// or the other, never a mixture or nothing; the tables of a family change one after the
// other, in an order in which what both capture stays captured in between. On an error
// some tables may have changed.
func (k *Kernel) Swap(ctx context.Context, from, to map[rule.Family]rule.Sets) error {
	var err error
	if slices.ContainsFunc(slices.Collect(maps.Values(from)), func(s rule.Sets) bool { return !s.Empty() }) {
		if from, err = k.readSaved(ctx); err != nil {
			return err
		}
	}
	var loads []child
	for _, tool := range k.tools {
		if text := rule.Swap(changed(from[tool.Family], to[tool.Family])); text != "" {
			loads = append(loads, child{family: tool.Family, path: tool.Restore, args: []string{"--noflush", waitForLock}, stdin: text})
		}
	}
	if err := k.run(ctx, loads); err != nil {
		return fmt.Errorf("load rules: %w", err)
	}
	return nil
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
