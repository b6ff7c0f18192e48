package nft

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// snapshot is all of nf_tables at one generation, as far as it concerns IP packets.
type snapshot struct {
	generation uint32
	tables     []*table
	missing    bool                      // the kernel has no nf_tables
	ours       map[rule.Family]rule.Sets // see sets; nil until asked for
}

// table is one of the kernel's.
type table struct {
	family  byte // NFPROTO_IPV4, NFPROTO_IPV6 or NFPROTO_INET
	name    string
	sleeps  bool // its base chains are not entered
	made    bool // by MakeTables
	chains  []*chain
	byChain map[string]*chain
}

// chain holds its rules as the kernel listed them.
type chain struct {
	name  string
	hook  *hook // nil when only rules lead to it
	rules []listed
}

// listed is one rule in the kernel's words.
type listed struct{ expressions, userdata []byte }

// snapshot reads the kernel, unless it is as it was when it was read before.
func (k *Kernel) snapshot(ctx context.Context) (*snapshot, error) {
	for range patience {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s, err := k.look()
		if errors.Is(err, errChanged) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOBUFS) {
			continue
		}
		if err != nil {
			return nil, explainRead(err)
		}
		k.last = s
		return s, nil
	}
	return nil, errChanged
}

// look reads the kernel once.
func (k *Kernel) look() (*snapshot, error) {
	c, err := k.dial()
	if errors.Is(err, errAbsent) {
		return &snapshot{missing: true}, nil
	}
	if err != nil {
		return nil, err
	}
	defer c.close()
	s := &snapshot{}
	err = c.ask(c.request(unix.NFT_MSG_GETGEN, 0), func(m message) (err error) {
		f, _ := fieldsOf(m.attrs())
		var ok bool
		if s.generation, ok = f.number(unix.NFTA_GEN_ID); !ok {
			return errShort
		}
		return nil
	})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return &snapshot{missing: true}, nil // nobody in the kernel takes such requests
	}
	if err != nil {
		return nil, err
	}
	if k.last != nil && !k.last.missing && k.last.generation == s.generation {
		return k.last, nil
	}
	return s, s.fill(c)
}

// request is a message without content.
func (c *conn) request(kind, flags uint16) *messages {
	m := c.messages(usualAsk)
	m.command(kind, flags, unix.NFPROTO_UNSPEC)
	return m
}

// fill reads tables, chains and rules, each in one dump for all families: few calls, however
// many there are. They must be of one generation.
func (s *snapshot) fill(c *conn) error {
	for _, dump := range []struct {
		kind uint16
		take func(message, fields)
	}{
		{unix.NFT_MSG_GETTABLE, s.takeTable},
		{unix.NFT_MSG_GETCHAIN, s.takeChain},
		{unix.NFT_MSG_GETRULE, s.takeRule},
	} {
		err := c.ask(c.request(dump.kind, unix.NLM_F_DUMP), func(m message) error {
			if m.resource() != uint16(s.generation) {
				return errChanged
			}
			f, _ := fieldsOf(m.attrs())
			dump.take(m, f)
			return nil
		})
		if err != nil {
			return err
		}
		if len(s.tables) == 0 {
			return nil
		}
	}
	return nil
}

func (s *snapshot) takeTable(m message, f fields) {
	switch m.family() {
	case unix.NFPROTO_IPV4, unix.NFPROTO_IPV6, unix.NFPROTO_INET:
		flags, _ := f.number(unix.NFTA_TABLE_FLAGS)
		s.tables = append(s.tables, &table{
			family: m.family(), name: f.text(unix.NFTA_TABLE_NAME),
			sleeps: flags&unix.NFT_TABLE_F_DORMANT != 0, made: isMade(f[tableComment]), byChain: map[string]*chain{},
		})
	}
}

func (s *snapshot) takeChain(m message, f fields) {
	t := s.table(m.family(), f.text(unix.NFTA_CHAIN_TABLE))
	if t == nil {
		return
	}
	c := &chain{name: f.text(unix.NFTA_CHAIN_NAME)}
	if at, ok := fieldsOf(f[unix.NFTA_CHAIN_HOOK]); ok && f[unix.NFTA_CHAIN_HOOK] != nil {
		number, _ := at.number(unix.NFTA_HOOK_HOOKNUM)
		priority, _ := at.number(unix.NFTA_HOOK_PRIORITY)
		policy, ok := f.number(unix.NFTA_CHAIN_POLICY)
		c.hook = &hook{
			number: number, priority: int32(priority), kind: f.text(unix.NFTA_CHAIN_TYPE),
			drops: ok && policy == dropPolicy,
		}
	}
	t.chains = append(t.chains, c)
	t.byChain[c.name] = c
}

// The policies of base chains, in the kernel's numbers.
const (
	dropPolicy   = 0
	acceptPolicy = 1
)

func (s *snapshot) takeRule(m message, f fields) {
	t := s.table(m.family(), f.text(unix.NFTA_RULE_TABLE))
	if t == nil {
		return
	}
	c := t.byChain[f.text(unix.NFTA_RULE_CHAIN)]
	if c == nil {
		return
	}
	c.rules = append(c.rules, listed{bytes.Clone(f[unix.NFTA_RULE_EXPRESSIONS]), bytes.Clone(f[unix.NFTA_RULE_USERDATA])})
}

// table finds one; nil when there is none.
func (s *snapshot) table(family byte, name string) *table {
	i := slices.IndexFunc(s.tables, func(t *table) bool { return t.family == family && t.name == name })
	if i < 0 {
		return nil
	}
	return s.tables[i]
}

// regular reports whether packets enter the table's chains as planned for t, and only so.
func (t *table) regular(plan rule.Table) bool {
	if t.sleeps || t.byChain[prerouting] == nil || t.byChain[output] == nil {
		return false
	}
	for _, c := range t.chains {
		base := c.name == prerouting || c.name == output
		if base != (c.hook != nil) || base && *c.hook != hookOf(plan, c.name) {
			return false
		}
	}
	return true
}

// sets is what of the interception the tables hold. It is not to be changed.
func (s *snapshot) sets() map[rule.Family]rule.Sets {
	if s.ours == nil {
		s.ours = s.readSets()
	}
	return s.ours
}

func (s *snapshot) readSets() map[rule.Family]rule.Sets {
	out := map[rule.Family]rule.Sets{}
	for _, f := range families() {
		for _, t := range rule.Tables() {
			held := s.table(familyNumber(f), tableName(t))
			if held == nil {
				continue
			}
			if out[f] == nil {
				out[f] = rule.Sets{}
			}
			out[f][t] = held.set(f, t)
		}
	}
	for _, t := range s.tables {
		if t.istio() {
			t.report(out)
		}
	}
	return out
}

// istio reports whether Istio's own rules in nftables are in the table. It has the names of
// ours, but is for both families.
func (t *table) istio() bool { return t.family == unix.NFPROTO_INET && ownTable(t.name) != "" }

// report adds the chains of a table of Istio's to sets, by names that are in no plan: its
// rules would add up with ours.
func (t *table) report(to map[rule.Family]rule.Sets) {
	for _, f := range families() {
		if to[f] == nil {
			to[f] = rule.Sets{}
		}
		set := to[f][ownTable(t.name)]
		for _, c := range t.chains {
			set.Chains = append(set.Chains, rule.Chain("inet "+c.name))
		}
		to[f][ownTable(t.name)] = set
	}
}

// set is what the table holds of table t of the plan. Chains of a table that packets do
// not enter as planned keep the kernel's names, which are in no plan.
func (t *table) set(f rule.Family, plan rule.Table) rule.Set {
	var out rule.Set
	name := plannedChain
	if !t.regular(plan) {
		name = func(c string) rule.Chain { return rule.Chain("irregular " + c) }
	}
	for _, c := range t.chains {
		planned := name(c.name)
		if planned != rule.Prerouting && planned != rule.Output {
			out.Chains = append(out.Chains, planned)
		}
		out.Rules = append(out.Rules, raiser{family: f, chain: planned, name: name}.rules(c.rules)...)
	}
	return out
}

// listing is what packets of family f meet.
func (s *snapshot) listing(f rule.Family) rule.Listing {
	out := rule.Listing{Rules: map[rule.Place][]rule.Rule{}}
	for _, t := range s.tables {
		if t.sleeps || t.family != familyNumber(f) && t.family != unix.NFPROTO_INET {
			continue
		}
		t.list(f, &out)
	}
	return out
}

// list adds what packets of family f meet in t to a listing.
func (t *table) list(f rule.Family, out *rule.Listing) {
	place := rule.Place{Backend: rule.NFTables, Table: t.name}
	name := func(c string) rule.Chain { return rule.Chain(c) }
	switch {
	case t.family == unix.NFPROTO_INET:
		place.Table = fmt.Sprintf("inet %s", t.name)
	case ownTable(t.name) != "":
		name = plannedChain
	case ofIPTables(t.name):
		place.Backend = rule.IPTablesNft
	}
	for _, c := range t.chains {
		place.Chain = name(c.name)
		out.Rules[place] = raiser{family: f, chain: place.Chain, name: name}.rules(c.rules)
		if c.hook == nil {
			continue
		}
		base := rule.Base{Place: place, Priority: int(c.hook.priority), Nat: c.hook.kind == "nat", Drops: c.hook.drops}
		switch c.hook.number {
		case unix.NF_INET_PRE_ROUTING:
			base.Hook = rule.AtPrerouting
		case unix.NF_INET_LOCAL_OUT:
			base.Hook = rule.AtOutput
		default:
			continue // on no way that interception has to do with
		}
		out.Bases = append(out.Bases, base)
	}
}

// ofIPTables reports whether iptables-nft keeps its rules in tables of that name.
func ofIPTables(name string) bool {
	switch name {
	case "raw", "mangle", "nat", "filter", "security":
		return true
	}
	return false
}
