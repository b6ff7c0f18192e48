package nft

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// batch is one transaction: all of it happens, or nothing.
type batch struct {
	*messages
	conn *conn
	what []action // of each message, in order
	lost error    // the first rule that could not be said
}

// action is what a message does, for errors.
type action struct {
	verb   string
	family rule.Family
	table  rule.Table
	chain  string
	rule   *rule.Rule // nil for other than rules
}

func (a action) String() string {
	out := fmt.Sprintf("%s table %s of %s", a.verb, tableName(a.table), a.family)
	if a.chain != "" {
		out += ", chain " + a.chain
	}
	if a.rule != nil {
		out += ": " + a.rule.Spec()
	}
	return out
}

// newBatch turns what the snapshot holds into to. The kernel refuses it when anything at
// all has changed since the snapshot.
func (k *Kernel) newBatch(s *snapshot, to map[rule.Family]rule.Sets) (*batch, error) {
	if s.missing {
		return nil, errAbsent
	}
	c, err := k.dial()
	if err != nil {
		return nil, err
	}
	b := &batch{messages: c.messages(usualBatch), conn: c}
	b.begin(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.NFPROTO_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	b.number(unix.NFNL_BATCH_GENID, s.generation)
	b.what = append(b.what, action{verb: "begin"})
	for _, f := range families() {
		for _, t := range rule.Tables() {
			at := place{batch: b, family: f, table: t}
			held := s.table(familyNumber(f), tableName(t))
			if held != nil && to[f][t].Empty() || !sameSet(s.sets()[f][t], to[f][t]) {
				at.turn(held, to[f][t])
			}
		}
	}
	for _, t := range s.tables {
		if t.istio() {
			b.remove(t)
		}
	}
	if b.lost != nil {
		c.close()
		return nil, b.lost
	}
	return b, nil
}

// remove deletes a table of Istio's.
func (b *batch) remove(t *table) {
	b.command(unix.NFT_MSG_DELTABLE, 0, t.family)
	b.text(unix.NFTA_TABLE_NAME, t.name)
	b.what = append(b.what, action{verb: "delete Istio's", family: rule.IPv4, table: ownTable(t.name)})
}

// commit sends the batch and closes its connection.
func (b *batch) commit() error {
	defer b.conn.close()
	if len(b.what) == 1 {
		return nil // nothing differs
	}
	b.flag(unix.NLM_F_ACK) // the answer to the last message is that to all
	last := b.first + uint32(b.count) - 1
	b.begin(unix.NFNL_MSG_BATCH_END, 0, unix.NFPROTO_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	if err := b.conn.send(b.messages); err != nil {
		return explainWrite(err, action{verb: "write"})
	}
	for {
		answer, err := b.conn.receive()
		if err != nil {
			return err
		}
		for {
			m, rest, ok := cut(answer)
			if !ok {
				break
			}
			answer = rest
			if m.kind != unix.NLMSG_ERROR {
				continue
			}
			// Errors come in the order of the messages, before the answer to the last.
			if err := errno(m); err != nil {
				return b.explain(err, m.seq)
			}
			if m.seq == last {
				return nil
			}
		}
	}
}

// explain is the error for the message of that number.
func (b *batch) explain(err error, seq uint32) error {
	if errors.Is(err, unix.ERESTART) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
		return errChanged
	}
	var a action
	if i := int(seq - b.first); i >= 0 && i < len(b.what) {
		a = b.what[i]
	}
	return explainWrite(err, a)
}

// place is one table of one family in a batch.
type place struct {
	*batch
	family rule.Family
	table  rule.Table
}

// turn makes the table hold want, which it does not; held is nil when there is no such table.
//
// A table that is as planned keeps its base chains, and only its rules are replaced: the
// kernel goes from a chain's old rules to its new ones between two packets. Were the base
// chains replaced, too, a packet could meet the new one before that moment and the old one
// after it, both empty.
func (p place) turn(held *table, want rule.Set) {
	if held != nil && (want.Empty() || !held.regular(p.table)) {
		p.command("delete", unix.NFT_MSG_DELTABLE, "")
		p.text(unix.NFTA_TABLE_NAME, tableName(p.table))
		held = nil
	}
	if want.Empty() {
		return
	}
	if held == nil {
		p.command("create", unix.NFT_MSG_NEWTABLE, "")
		p.text(unix.NFTA_TABLE_NAME, tableName(p.table))
		p.number(unix.NFTA_TABLE_FLAGS, 0)
	} else {
		p.command("empty", unix.NFT_MSG_DELRULE, "")
		p.text(unix.NFTA_RULE_TABLE, tableName(p.table))
		p.chainsGone(held, want)
	}
	p.chains(held, want)
	for i := range want.Rules {
		p.rule(&want.Rules[i])
	}
}

// command starts a message that does something to the table.
func (p place) command(verb string, kind uint16, chain string) {
	var flags uint16
	switch kind {
	case unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_NEWCHAIN:
		flags = unix.NLM_F_CREATE
	case unix.NFT_MSG_NEWRULE:
		flags = unix.NLM_F_CREATE | unix.NLM_F_APPEND
	}
	p.messages.command(kind, flags, familyNumber(p.family))
	p.what = append(p.what, action{verb: verb, family: p.family, table: p.table, chain: chain})
}

// chainsGone removes the chains that are not wanted any more.
func (p place) chainsGone(held *table, want rule.Set) {
	for _, c := range held.chains {
		if c.hook == nil && !slices.Contains(want.Chains, plannedChain(c.name)) {
			p.command("delete a chain of", unix.NFT_MSG_DELCHAIN, c.name)
			p.text(unix.NFTA_CHAIN_TABLE, tableName(p.table))
			p.text(unix.NFTA_CHAIN_NAME, c.name)
		}
	}
}

// chains makes those that are not there, which may jump to each other once all are.
func (p place) chains(held *table, want rule.Set) {
	for _, c := range want.Chains {
		if !c.Private() {
			p.lose(fmt.Errorf("chain %q of table %s is not one that rules can be loaded into", c, tableName(p.table)))
		}
		if held == nil || held.byChain[chainName(c)] == nil {
			p.chain(chainName(c), nil)
		}
	}
	if held != nil {
		return
	}
	for _, name := range []string{prerouting, output} {
		at := hookOf(p.table, name)
		p.chain(name, &at)
	}
}

func (p place) chain(name string, at *hook) {
	p.command("create a chain of", unix.NFT_MSG_NEWCHAIN, name)
	p.text(unix.NFTA_CHAIN_TABLE, tableName(p.table))
	p.text(unix.NFTA_CHAIN_NAME, name)
	if at == nil {
		return
	}
	p.nest(unix.NFTA_CHAIN_HOOK, func() {
		p.number(unix.NFTA_HOOK_HOOKNUM, at.number)
		p.number(unix.NFTA_HOOK_PRIORITY, uint32(at.priority))
	})
	p.number(unix.NFTA_CHAIN_POLICY, acceptPolicy)
	p.text(unix.NFTA_CHAIN_TYPE, at.kind)
}

// rule appends what a rule of the plan is in the kernel.
func (p place) rule(r *rule.Rule) {
	lowered, err := lower(p.family, *r)
	if err != nil {
		p.lose(err)
		return
	}
	for _, expressions := range lowered {
		p.command("write", unix.NFT_MSG_NEWRULE, chainName(r.Chain))
		p.what[len(p.what)-1].rule = r
		p.text(unix.NFTA_RULE_TABLE, tableName(p.table))
		p.text(unix.NFTA_RULE_CHAIN, chainName(r.Chain))
		p.nest(unix.NFTA_RULE_EXPRESSIONS, func() {
			for _, e := range expressions {
				data, err := expr.Marshal(familyNumber(p.family), e)
				if err != nil {
					p.lose(fmt.Errorf("rule %q: %w", r, err))
				}
				p.attr(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, data...)
			}
		})
		if comment := r.Comment(); comment != "" {
			p.attr(unix.NFTA_RULE_USERDATA, userdata.AppendString(nil, userdata.TypeComment, comment)...)
		}
	}
}

func (p place) lose(err error) {
	if p.lost == nil {
		p.lost = err
	}
}
