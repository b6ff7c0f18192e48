package nft

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// ReadIPTables returns what of the interception iptables-nft has written, as Read does of
// its own tables. complete is false when one of the rules has something that is not
// understood here, as a later version of iptables may write: then its own listing has to be
// asked.
func (k *Kernel) ReadIPTables(ctx context.Context) (sets map[rule.Family]rule.Sets, complete bool, err error) {
	s, err := k.snapshot(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("read tables of iptables-nft: %w", err)
	}
	sets, complete = map[rule.Family]rule.Sets{}, true
	for _, f := range families() {
		for _, t := range rule.Tables() {
			held := s.table(familyNumber(f), string(t))
			if held == nil {
				continue
			}
			set := held.owned(f)
			if set.Empty() {
				continue
			}
			if sets[f] == nil {
				sets[f] = rule.Sets{}
			}
			sets[f][t] = set
			complete = complete && understood(set)
		}
	}
	return sets, complete, nil
}

// owned is the interception's part of a table that others use, too.
func (t *table) owned(f rule.Family) rule.Set {
	var out rule.Set
	name := func(c string) rule.Chain { return rule.Chain(c) }
	for _, c := range t.chains {
		if name(c.name).Private() {
			out.Chains = append(out.Chains, name(c.name))
		}
		for _, r := range (raiser{family: f, chain: name(c.name), name: name}).rules(c.rules) {
			if r.Owned() {
				out.Rules = append(out.Rules, r)
			}
		}
	}
	return out
}

func understood(s rule.Set) bool {
	for _, r := range s.Rules {
		if r.Target.Action == rule.Foreign || slices.ContainsFunc(r.Match, func(m rule.Match) bool { return m.Key == rule.Other }) {
			return false
		}
	}
	return true
}

// The attributes of expressions "match" and "target", which carry an extension of iptables.
const (
	compatName     = 1
	compatRevision = 2
	compatInfo     = 3
)

// compat reads an extension of iptables. Its content is a structure of the C language,
// fields in the order of the machine but ports and addresses in that of the network.
func (s *statement) compat(kind string, f fields) bool {
	revision, ok := f.number(compatRevision)
	if !ok || !f.only(compatName, compatRevision, compatInfo) {
		return false
	}
	name := fmt.Sprintf("%s/%d", f.text(compatName), revision)
	in := info{b: f[compatInfo]}
	if kind == "target" {
		t, ok := in.target(s.family, name)
		if !ok {
			t = foreign(f.text(compatName))
		}
		return s.effect(t)
	}
	if name == "comment/0" {
		text, _, _ := bytes.Cut(in.b, []byte{0})
		if why, ours := rule.WhyOf(string(text)); ours && s.rule.Why == "" {
			s.rule.Why = why
		}
		return true
	}
	matches, ok := in.matches(name)
	if !ok {
		matches = []rule.Match{{Key: rule.Other, Value: "-m " + f.text(compatName)}}
	}
	for _, m := range matches {
		s.match(m)
	}
	return true
}

// info is the content of an extension. Reading beyond its end gives zeros, and is noted.
type info struct {
	b     []byte
	short bool
}

func (i *info) bytes(at, n int) []byte {
	if at+n > len(i.b) {
		i.short = true
		return make([]byte, n)
	}
	return i.b[at : at+n]
}

func (i *info) u8(at int) byte    { return i.bytes(at, 1)[0] }
func (i *info) u16(at int) uint16 { return binary.NativeEndian.Uint16(i.bytes(at, 2)) }
func (i *info) u32(at int) uint32 { return binary.NativeEndian.Uint32(i.bytes(at, 4)) }

// port is one in the order of the network.
func (i *info) port(at int) uint16 { return binary.BigEndian.Uint16(i.bytes(at, 2)) }

// matches says a condition of iptables; not ok when it is one that is not known here.
func (i *info) matches(name string) (out []rule.Match, ok bool) {
	switch name {
	case "owner/1":
		out, ok = i.owner()
	case "tcp/0":
		out, ok = i.ports(11)
		ok = ok && i.u8(9) == 0 && i.u8(8) == 0 // neither flags nor options
	case "udp/0":
		out, ok = i.ports(8)
	case "mark/1":
		out, ok = i.mark(rule.PacketMark)
	case "connmark/1":
		out, ok = i.mark(rule.ConnMark)
	case "conntrack/3", "conntrack/2":
		out, ok = i.conntrack()
	}
	return out, ok && !i.short
}

// owner is struct xt_owner_match_info.
func (i *info) owner() (out []rule.Match, ok bool) {
	const uid, gid = 1, 2
	match, invert := i.u8(16), i.u8(17)
	for _, o := range []struct {
		bit byte
		at  int
		key rule.Key
	}{{uid, 0, rule.OwnerUID}, {gid, 8, rule.OwnerGID}} {
		if match&o.bit == 0 {
			continue
		}
		low, high := i.u32(o.at), i.u32(o.at+4)
		value := strconv.FormatUint(uint64(low), 10)
		if low != high {
			value += "-" + strconv.FormatUint(uint64(high), 10)
		}
		out = append(out, rule.Match{Key: o.key, Not: invert&o.bit != 0, Value: value})
	}
	return out, match != 0 && match&^(uid|gid) == 0
}

// ports is how struct xt_tcp and struct xt_udp begin; the byte of inverted parts is at flags.
func (i *info) ports(flags int) (out []rule.Match, ok bool) {
	const source, dest = 1, 2
	invert := i.u8(flags)
	for _, p := range []struct {
		bit byte
		at  int
		key rule.Key
	}{{source, 0, rule.SourcePort}, {dest, 4, rule.DestPort}} {
		low, high := i.u16(p.at), i.u16(p.at+2)
		if low == 0 && high == 1<<16-1 && invert&p.bit == 0 {
			continue
		}
		value := strconv.Itoa(int(low))
		if low != high {
			value += ":" + strconv.Itoa(int(high))
		}
		out = append(out, rule.Match{Key: p.key, Not: invert&p.bit != 0, Value: value})
	}
	return out, invert&^(source|dest) == 0
}

// mark is struct xt_mark_mtinfo1, and struct xt_connmark_mtinfo1.
func (i *info) mark(k rule.Key) ([]rule.Match, bool) {
	value := fmt.Sprintf("0x%x", i.u32(0))
	if mask := i.u32(4); mask != 1<<32-1 {
		value += fmt.Sprintf("/0x%x", mask)
	}
	return []rule.Match{{Key: k, Not: i.u8(8) != 0, Value: value}}, true
}

// conntrack is struct xt_conntrack_mtinfo3, or its predecessor, which ends earlier.
func (i *info) conntrack() (out []rule.Match, ok bool) {
	const state, direction = 1, 1 << 12
	match, invert := i.u16(146), i.u16(148)
	if match&state != 0 {
		// The first four states have the numbers that nf_tables gives them.
		bits := uint32(i.u16(150))
		names, ok := stateNames(native(bits), true)
		if !ok || bits >= 1<<4 {
			return nil, false
		}
		out = append(out, rule.Match{Key: rule.ConnState, Not: invert&state != 0, Value: names})
	}
	if match&direction != 0 {
		m := rule.FromOpener()
		if invert&direction != 0 {
			m.Value = "REPLY"
		}
		out = append(out, m)
	}
	return out, match != 0 && match&^(state|direction) == 0
}

// notrack is the flag of target CT that keeps packets from nat.
const notrack = 1

// target says what iptables does with a packet; not ok when it is not known here.
func (i *info) target(f rule.Family, name string) (t rule.Target, ok bool) {
	switch name {
	case "REDIRECT/0":
		t, ok = i.redirect(f)
	case "MARK/2":
		t, ok = rule.Mark(i.u32(0)), i.u32(4) == 1<<32-1
	case "CONNMARK/1":
		t, ok = i.connmark(i.u8(12))
	case "CONNMARK/2":
		t, ok = i.connmark(i.u8(14))
		ok = ok && i.u8(13) == 0 // shifts by nothing
	case "TPROXY/1":
		t, ok = i.tproxy(f)
	case "CT/0", "CT/1", "CT/2":
		if i.u16(0)&notrack != 0 {
			return foreign("CT --notrack"), !i.short
		}
		// Flags, events, helpers and time limits are not for interception.
		const begin, end = 4, 28
		t, ok = rule.Zone(i.u16(2)), i.u16(0) == 0 && zero(i.bytes(begin, end-begin))
	}
	return t, ok && !i.short
}

// redirect is struct nf_nat_ipv4_multi_range_compat, and in IPv6 struct nf_nat_range.
func (i *info) redirect(f rule.Family) (rule.Target, bool) {
	const onlyPorts = 2
	if f == rule.IPv6 {
		return rule.RedirectTo(i.port(36)), i.u32(0) == onlyPorts && i.port(36) == i.port(38)
	}
	return rule.RedirectTo(i.port(16)), i.u32(0) == 1 && i.u32(4) == onlyPorts && i.port(16) == i.port(18)
}

// connmark is struct xt_connmark_tginfo1, and its successor.
func (i *info) connmark(mode byte) (rule.Target, bool) {
	const save, restore = 1, 2
	whole := i.u32(4) == 1<<32-1 && i.u32(8) == 1<<32-1
	if mode == restore {
		return rule.TakeMark(), whole
	}
	return rule.KeepMark(), whole && mode == save
}

// tproxy is struct xt_tproxy_target_info_v1.
func (i *info) tproxy(f rule.Family) (rule.Target, bool) {
	const anywhere = 16
	t := rule.DivertTo(f, i.port(24), i.u32(4))
	return t, i.u32(0) == 1<<32-1 && zero(i.bytes(8, anywhere))
}

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
