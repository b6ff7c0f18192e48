package nft

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// FuzzRules: whatever the kernel lists, reading it ends, and ends in no rule that says less
// than all of it.
func FuzzRules(f *testing.F) {
	for _, r := range []rule.Rule{
		{Target: rule.RedirectTo(15001), Match: []rule.Match{rule.TCP(), rule.ToPort(80)}},
		{Target: rule.DivertTo(rule.IPv4, 15006, 1337), Match: []rule.Match{rule.UDP(), rule.Established()}},
		{Target: rule.KeepMark(), Match: []rule.Match{rule.To(netip.MustParsePrefix("10.16.0.0/12")), rule.ByUID(1)}},
		{Target: rule.Jump(rule.Outbound), Match: []rule.Match{rule.Leaving("lo"), rule.OfMarked(1)}},
	} {
		b := &batch{messages: &messages{}}
		r.Chain = rule.Output
		place{batch: b, family: rule.IPv4, table: rule.Mangle}.rule(&r)
		m, _, ok := cut(b.buf)
		fields, _ := fieldsOf(m.attrs())
		if !ok || b.lost != nil {
			f.Fatal("the seed is no message")
		}
		f.Add(fields[unix.NFTA_RULE_EXPRESSIONS], fields[unix.NFTA_RULE_USERDATA])
	}
	f.Fuzz(func(t *testing.T, expressions, userdata []byte) {
		r := raiser{family: rule.IPv4, chain: rule.Output, name: plannedChain}
		one := r.rules([]listed{{expressions, userdata}})
		if len(one) > 1 {
			t.Fatalf("one rule was read as %v", one)
		}
		// Something that is not understood must show in the rule.
		strange := append(append([]byte{}, expressions...), 8, 0, 1, 0, 1, 2, 3, 4)
		for _, r := range r.rules([]listed{{strange, userdata}}) {
			if r.Target.Action != rule.Foreign {
				t.Errorf("an expression that is not known is left out of %v", r)
			}
		}
	})
}

// TestMissingModules: the error names what the kernel lacks.
func TestMissingModules(t *testing.T) {
	at := action{verb: "write", family: rule.IPv4, table: rule.Nat, chain: "output"}
	with := func(r rule.Rule) action {
		a := at
		a.rule = &r
		return a
	}
	for _, tt := range []struct {
		err  error
		what action
		want string
	}{
		{unix.EOPNOTSUPP, action{verb: "begin"}, "load module nf_tables"},
		{errAbsent, action{}, "load module nf_tables"},
		{unix.ENOENT, at, "nft_chain_nat"},
		{unix.ENOENT, with(rule.Rule{Target: rule.RedirectTo(1)}), "nft_redir"},
		{unix.ENOENT, with(rule.Rule{Target: rule.DivertTo(rule.IPv4, 1, 2)}), "nft_tproxy"},
		{unix.ENOENT, with(rule.Rule{Target: rule.RedirectTo(1), Match: []rule.Match{rule.Established()}}), "nft_ct or nft_redir"},
		{unix.EOPNOTSUPP, with(rule.Rule{Target: rule.Zone(1)}), "CONFIG_NF_CONNTRACK_ZONES"},
		{unix.EOPNOTSUPP, with(rule.Rule{Target: rule.KeepMark()}), "CONFIG_NF_CONNTRACK_MARK"},
		{unix.EPERM, action{verb: "begin"}, "capability NET_ADMIN"},
		{unix.EBUSY, action{verb: "delete a chain of", chain: "x"}, "remove that first"},
		{unix.EINVAL, at, "write table istio-proxy-nat of IPv4, chain output: invalid argument"},
	} {
		got := explainWrite(tt.err, tt.what)
		if !strings.Contains(got.Error(), tt.want) || !errors.Is(got, tt.err) && !errors.Is(got, errAbsent) {
			t.Errorf("explainWrite(%v, %v) = %v; want one with %q", tt.err, tt.what, got, tt.want)
		}
	}
}

// TestStages: both ways capture while inbound connections move from one to the other.
func TestStages(t *testing.T) {
	const f = rule.IPv4
	redirect := rule.SetOf([]rule.Rule{{Chain: rule.Prerouting, Target: rule.RedirectTo(1), Match: []rule.Match{rule.TCP()}}})
	outbound := rule.SetOf([]rule.Rule{{Chain: rule.Output, Target: rule.RedirectTo(2), Match: []rule.Match{rule.TCP()}}})
	divert := rule.SetOf([]rule.Rule{{Chain: rule.Prerouting, Target: rule.DivertTo(f, 1, 2), Match: []rule.Match{rule.TCP()}}})
	redirecting := map[rule.Family]rule.Sets{f: {rule.Nat: redirect}}
	diverting := map[rule.Family]rule.Sets{f: {rule.Nat: outbound, rule.Mangle: divert}}
	both := map[rule.Family]rule.Sets{f: {rule.Nat: redirect, rule.Mangle: divert}}
	for _, tt := range []struct {
		name     string
		from, to map[rule.Family]rule.Sets
		between  map[rule.Family]rule.Sets
	}{
		{"fresh", nil, diverting, nil},
		{"same mode", redirecting, redirecting, nil},
		{"to diversion", redirecting, diverting, both},
		{"to redirection", diverting, redirecting, both},
		{"removal", diverting, nil, nil},
	} {
		got := Stages(tt.from, tt.to)
		if !sameSets(got[len(got)-1], tt.to) {
			t.Errorf("%s: ends with %v", tt.name, got[len(got)-1])
		}
		if (len(got) == 2) != (tt.between != nil) || tt.between != nil && !sameSets(got[0], tt.between) {
			t.Errorf("%s: %d stages, the first %v; want %v between", tt.name, len(got), got[0], tt.between)
		}
	}
}
