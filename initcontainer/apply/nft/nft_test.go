package nft_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/apply/nft"
	"github.com/sluicemesh/sluice/initcontainer/netlab"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

type both = map[rule.Family]rule.Sets

// every holds each kind of match, as it is and negated, and each target.
func every(f rule.Family) rule.Sets {
	far, near := netip.MustParsePrefix("10.16.0.0/12"), netip.MustParsePrefix("10.0.0.0/8")
	one := netip.MustParsePrefix("127.0.0.6/32")
	if f == rule.IPv6 {
		far, near, one = netip.MustParsePrefix("2001:db8::/37"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("::6/128")
	}
	var nat, mangle, raw []rule.Rule
	add := func(to *[]rule.Rule, c rule.Chain, t rule.Target, why string, ms ...rule.Match) {
		*to = append(*to, rule.Rule{Chain: c, Target: t, Why: why, Match: ms})
	}
	for _, m := range []rule.Match{
		rule.From(far), rule.To(far), rule.From(near), rule.To(near), rule.From(one), rule.To(one),
		rule.Entering("eth0"), rule.Leaving("lo"), rule.Leaving("veth+"), rule.TCP(), rule.UDP(),
		rule.ByUID(1337), rule.ByGID(4294967294), rule.Marked(1337), rule.OfMarked(1), rule.Invalid(), rule.Established(), rule.FromOpener(),
		{Key: rule.ConnState, Value: "NEW,RELATED,ESTABLISHED"}, {Key: rule.ConnDir, Value: "REPLY"},
	} {
		add(&mangle, rule.Discard, rule.Return(), "a", m)
		add(&mangle, rule.Discard, rule.Return(), "b", m.Negate())
	}
	add(&mangle, rule.Discard, rule.Drop(), "two", rule.To(near).Negate(), rule.To(one).Negate(), rule.To(far).Negate(),
		rule.ByGID(1).Negate(), rule.ByGID(2).Negate(), rule.ByUID(3), rule.ByUID(4).Negate())
	add(&nat, rule.Outbound, rule.RedirectTo(15001), "c", rule.TCP(), rule.ToPort(80), rule.FromPort(9).Negate())
	add(&nat, rule.Outbound, rule.RedirectTo(15053), "", rule.FromPort(65535), rule.UDP(), rule.ToPort(53).Negate())
	add(&nat, rule.Output, rule.Jump(rule.Outbound), "d")
	add(&mangle, rule.Prerouting, rule.Jump(rule.Divert), "e")
	add(&mangle, rule.Divert, rule.DivertTo(f, 15006, 1337), "f", rule.TCP())
	add(&mangle, rule.Divert, rule.DivertTo(f, 15007, 1), "", rule.TCP(), rule.Entering("eth0"))
	add(&mangle, rule.Divert, rule.Accept(), "h")
	add(&mangle, rule.Divert, rule.Drop(), "")
	add(&mangle, rule.Divert, rule.Mark(0xffffffff), "i")
	add(&mangle, rule.Divert, rule.KeepMark(), "j")
	add(&mangle, rule.Divert, rule.TakeMark(), "k")
	add(&raw, rule.Prerouting, rule.Zone(1), "l", rule.UDP(), rule.FromPort(53))
	add(&raw, rule.Output, rule.Zone(65535), "m", rule.UDP(), rule.FromPort(53))
	return rule.Sets{rule.Nat: rule.SetOf(nat), rule.Mangle: rule.SetOf(mangle), rule.Raw: rule.SetOf(raw)}
}

// within runs fn in a namespace of its own with a Kernel.
func within(t *testing.T, fn func(*nft.Kernel) error) {
	t.Helper()
	if err := netlab.In(netlab.New(t, true).Pod, func() error { return fn(&nft.Kernel{}) }); err != nil {
		t.Fatal(err)
	}
}

// differ says how the sets of got are not those of want.
func differ(want, got both) error {
	var errs []error
	for _, f := range []rule.Family{rule.IPv4, rule.IPv6} {
		if len(want[f]) != len(got[f]) {
			errs = append(errs, fmt.Errorf("%s: %d tables, want %d", f, len(got[f]), len(want[f])))
		}
		errs = append(errs, verify.Compare(want[f], got[f]))
	}
	return errors.Join(errs...)
}

func TestReadsWhatItWrote(t *testing.T) {
	config := capture.Default()
	other := config
	other.Mode = capture.TProxy
	want := []both{
		{rule.IPv4: every(rule.IPv4), rule.IPv6: every(rule.IPv6)},
		{rule.IPv4: plan.Build(config, rule.IPv4).Rules},
		{rule.IPv4: plan.Build(other, rule.IPv4).Rules, rule.IPv6: plan.Build(other, rule.IPv6).Rules},
		{rule.IPv6: every(rule.IPv6)},
		{},
	}
	within(t, func(k *nft.Kernel) error {
		from, err := k.Read(t.Context())
		if err != nil {
			return err
		}
		for i, to := range want {
			if err := k.Swap(t.Context(), from, to); err != nil {
				return err
			}
			if from, err = k.Read(t.Context()); err != nil {
				return err
			}
			if err := differ(to, from); err != nil {
				t.Errorf("set %d: %v", i, err)
			}
		}
		return nil
	})
}
