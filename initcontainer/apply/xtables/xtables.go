// Package xtables keeps rule sets in the kernel with iptables-restore, of one flavour.
//
// A load is one process for each family, all at the same time, and within it one
// transaction of the kernel for each table. Rules of flavour nft are read back over
// netlink, those of flavour legacy with iptables-legacy-save, and only where there are
// tables. The package neither decides which rules are right nor checks that they came to be.
package xtables

import (
	"context"
	"fmt"
	"maps"

	"github.com/sluicemesh/sluice/initcontainer/host"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Lister lists all of nf_tables, which is where flavour nft keeps its rules.
type Lister interface {
	Listing(context.Context, rule.Family) (rule.Listing, error)
}

// Kernel is the rules of one flavour in the network namespace of the calling thread. All
// methods must be called from a thread that stays in it.
type Kernel struct {
	flavour  host.Flavour
	nft      Lister
	lockFile string
	tools    []host.Tool // one for each family
	// read is what the save programs of flavour legacy said to Read, until Listing has used
	// it or rules were written: a program a family less.
	read map[rule.Family]string
}

// Options is what Open needs besides the flavour.
type Options struct {
	Families []rule.Family
	Nft      Lister
	// LockFile is what programs of flavour legacy lock while they write; "" is their own
	// choice. On a node it is a file of the namespace: pods do not wait for each other.
	LockFile string
}

// Open finds the programs of a flavour for all families of o.
func Open(flavour host.Flavour, o Options) (*Kernel, error) {
	k := &Kernel{flavour: flavour, nft: o.Nft, lockFile: o.LockFile}
	for _, f := range o.Families {
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
	if k.flavour == host.Legacy {
		texts, err := k.save(ctx)
		k.read = maps.Clone(texts)
		if err != nil {
			return nil, err
		}
		return parseSaved(texts)
	}
	out := map[rule.Family]rule.Sets{}
	for _, tool := range k.tools {
		l, err := k.nft.Listing(ctx, tool.Family)
		if err != nil {
			return nil, err
		}
		out[tool.Family] = owned(l, rule.IPTablesNft)
	}
	return out, nil
}

// readSaved is Read with the save programs, in whose words a restore program deletes rules.
func (k *Kernel) readSaved(ctx context.Context) (map[rule.Family]rule.Sets, error) {
	texts, err := k.save(ctx)
	if err != nil {
		return nil, err
	}
	return parseSaved(texts)
}

func parseSaved(texts map[rule.Family]string) (map[rule.Family]rule.Sets, error) {
	out := map[rule.Family]rule.Sets{}
	for f, text := range texts {
		var err error
		if out[f], err = rule.ParseSave(text); err != nil {
			return nil, fmt.Errorf("read %s rules: %w", f, err)
		}
	}
	return out, nil
}

// save lists all tables of each family, "" for a family that has none of this flavour.
func (k *Kernel) save(ctx context.Context) (map[rule.Family]string, error) {
	out := map[rule.Family]string{}
	var lists []child
	for _, tool := range k.tools {
		out[tool.Family] = ""
		used, err := k.inUse(ctx, tool.Family)
		if err != nil {
			return nil, err
		}
		if used {
			lists = append(lists, child{family: tool.Family, path: tool.Save})
		}
	}
	if err := k.run(ctx, lists); err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	for _, l := range lists {
		out[l.family] = l.stdout
	}
	return out, nil
}

// inUse reports whether the family has tables of this flavour. To ask a program of flavour
// legacy would create them.
func (k *Kernel) inUse(ctx context.Context, f rule.Family) (bool, error) {
	if k.flavour == host.Legacy {
		return host.LegacyInUse(f)
	}
	l, err := k.nft.Listing(ctx, f)
	for place := range l.Rules {
		if place.Backend == rule.IPTablesNft {
			return true, nil
		}
	}
	return false, err
}

// Listing is everything that packets of a family meet in this flavour's tables, rules of
// others included; in flavour nft, in all of nf_tables. In flavour legacy, the first after
// Read is what Read saw.
func (k *Kernel) Listing(ctx context.Context, f rule.Family) (rule.Listing, error) {
	if k.flavour == host.Nft {
		return k.nft.Listing(ctx, f)
	}
	if text, ok := k.read[f]; ok {
		delete(k.read, f)
		return parseListing(rule.IPTablesLegacy, text)
	}
	texts, err := k.save(ctx)
	if err != nil {
		return rule.Listing{}, err
	}
	return parseListing(rule.IPTablesLegacy, texts[f])
}
