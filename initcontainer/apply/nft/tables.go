package nft

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// madeHere is the comment of tables that were made for a program of iptables, which would
// make them itself but leave them behind without a trace of why.
const madeHere = "sluice/made-for-iptables"

// tableComment is NFTA_TABLE_USERDATA; kernels before 5.10 ignore it.
const tableComment = 6

// MakeTables makes those tables of iptables that are not there, with a mark by which
// Retire knows them. A kernel without nf_tables is left to whoever writes rules.
func (k *Kernel) MakeTables(ctx context.Context, want map[rule.Family][]rule.Table) error {
	return k.change(ctx, func(s *snapshot, b *batch) {
		for _, f := range families() {
			for _, t := range want[f] {
				if s.table(familyNumber(f), string(t)) != nil {
					continue
				}
				b.table(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, action{verb: "create", family: f, table: t}, string(t))
				b.number(unix.NFTA_TABLE_FLAGS, 0)
				b.attr(tableComment, userdata.AppendString(nil, userdata.TypeComment, madeHere)...)
			}
		}
	})
}

// Retire removes the tables of iptables that MakeTables made and that hold nothing any
// more, and those that Istio's native backend may have left. A table that anybody else has
// put something into stays.
func (k *Kernel) Retire(ctx context.Context) error {
	return k.change(ctx, func(s *snapshot, b *batch) {
		for _, t := range s.tables {
			if t.retired() {
				b.table(unix.NFT_MSG_DELTABLE, 0, action{verb: "delete", family: familyOf(t.family)}, t.name)
				b.buf[b.start+unix.SizeofNlMsghdr] = t.family
			}
		}
	})
}

// Retired reports whether there is anything for Retire to remove.
func (k *Kernel) Retired(ctx context.Context) (bool, error) {
	s, err := k.snapshot(ctx)
	if err != nil {
		return false, fmt.Errorf("read nftables: %w", err)
	}
	return slices.ContainsFunc(s.tables, (*table).retired), nil
}

// retired reports whether a table has no purpose any more.
func (t *table) retired() bool {
	if t.family == unix.NFPROTO_INET {
		return slices.ContainsFunc(rule.Tables(), func(of rule.Table) bool { return t.name == tableName(of) })
	}
	return t.made && !slices.ContainsFunc(t.chains, func(c *chain) bool {
		return c.hook == nil || c.hook.drops || len(c.rules) > 0
	})
}

// isMade reports whether the user data of a table is the mark of MakeTables.
func isMade(data []byte) bool {
	return bytes.Equal(data, userdata.AppendString(nil, userdata.TypeComment, madeHere))
}

func familyOf(number byte) rule.Family {
	if number == unix.NFPROTO_IPV6 {
		return rule.IPv6
	}
	return rule.IPv4
}

// change is one transaction on the rules as they are when fill is called. It starts again
// when another program's came before it.
func (k *Kernel) change(ctx context.Context, fill func(*snapshot, *batch)) error {
	for range patience {
		s, err := k.snapshot(ctx)
		if err != nil || s.missing {
			return err
		}
		c, err := k.dial()
		if err != nil {
			return err
		}
		b := &batch{messages: c.messages(usualAsk), conn: c}
		b.begin(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.NFPROTO_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
		b.number(unix.NFNL_BATCH_GENID, s.generation)
		b.what = append(b.what, action{verb: "begin"})
		fill(s, b)
		if err := b.commit(); !errors.Is(err, errChanged) {
			return err
		}
	}
	return errChanged
}

// table starts a message about a table of any name.
func (b *batch) table(kind, flags uint16, what action, name string) {
	b.command(kind, flags, familyNumber(what.family))
	b.text(unix.NFTA_TABLE_NAME, name)
	b.what = append(b.what, what)
}
