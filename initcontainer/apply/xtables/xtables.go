// Package xtables keeps rule sets in the kernel with iptables-save and iptables-restore,
// of one flavour.
//
// A load is one process for each family, and within it one transaction of the kernel for
// each table. The package neither decides which rules are right nor checks that they came
// to be.
package xtables

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sluicemesh/sluice/initcontainer/host"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Kernel is the rules of one flavour in the network namespace of the calling thread. All
// methods must be called from a thread that stays in it.
type Kernel struct {
	flavour host.Flavour
	tools   []host.Tool // one for each family
}

// Open finds the programs of a flavour for the given families.
func Open(flavour host.Flavour, families []rule.Family) (*Kernel, error) {
	k := &Kernel{flavour: flavour}
	for _, f := range families {
		tool, err := host.FindTool(f, flavour)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		k.tools = append(k.tools, tool)
	}
	return k, nil
}

// Read lists what belongs to the interception in each family. The maps are the caller's.
func (k *Kernel) Read(ctx context.Context) (map[rule.Family]rule.Sets, error) {
	out := map[rule.Family]rule.Sets{}
	texts, err := k.save(ctx, k.tools)
	if err != nil {
		return nil, err
	}
	for f, text := range texts {
		if out[f], err = rule.ParseSave(text); err != nil {
			return nil, fmt.Errorf("read %s rules: %w", f, err)
		}
	}
	return out, nil
}

// Swap turns from, which must be what Read gave, into to. In each table packets meet one
// or the other, never a mixture or nothing; the tables of a family change one after the
// other, in an order in which what both capture stays captured in between. On an error
// some tables may have changed.
func (k *Kernel) Swap(ctx context.Context, from, to map[rule.Family]rule.Sets) error {
	var loads []child
	for _, tool := range k.tools {
		if text := rule.Swap(changed(from[tool.Family], to[tool.Family])); text != "" {
			loads = append(loads, child{family: tool.Family, argv: []string{tool.Restore, "--noflush", waitForLock}, stdin: text})
		}
	}
	if err := runAll(ctx, loads); err != nil {
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

// waitForLock makes a program of the legacy flavour wait for another that writes, in
// seconds; the nft flavour has no lock and takes the option.
const waitForLock = "--wait=30"

// save lists all tables of each family, "" where there is none that interception uses.
func (k *Kernel) save(ctx context.Context, tools []host.Tool) (map[rule.Family]string, error) {
	out := map[rule.Family]string{}
	var lists []child
	for _, tool := range tools {
		used, err := host.InUse(tool.Family, tool.Flavour)
		if err != nil {
			return nil, err
		}
		out[tool.Family] = ""
		if used {
			lists = append(lists, child{family: tool.Family, argv: []string{tool.Save}})
		}
	}
	if err := runAll(ctx, lists); err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	for _, l := range lists {
		out[l.family] = l.stdout
	}
	return out, nil
}

// Listing is everything that packets of a family meet in this flavour's tables, rules of
// others included.
func (k *Kernel) Listing(ctx context.Context, f rule.Family) (rule.Listing, error) {
	for _, tool := range k.tools {
		if tool.Family != f {
			continue
		}
		texts, err := k.save(ctx, []host.Tool{tool})
		if err != nil {
			return rule.Listing{}, err
		}
		return parseListing(k.backend(), texts[f])
	}
	return rule.Listing{}, errors.New("no programs for " + f.String())
}

func (k *Kernel) backend() rule.Backend {
	if k.flavour == host.Legacy {
		return rule.IPTablesLegacy
	}
	return rule.IPTablesNft
}
