package verify

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

func planned() rule.Set {
	return rule.SetOf([]rule.Rule{
		{Chain: rule.Inbound, Match: []rule.Match{rule.TCP(), rule.ToPort(1)}, Target: rule.Return(), Why: "a"},
		{Chain: rule.Inbound, Match: []rule.Match{rule.TCP(), rule.ToPort(2)}, Target: rule.Return(), Why: "a"},
		{Chain: rule.Inbound, Target: rule.Jump(rule.InRedirect), Why: "b"},
		{Chain: rule.InRedirect, Match: []rule.Match{rule.TCP()}, Target: rule.RedirectTo(15006), Why: "c"},
		{Chain: rule.Prerouting, Match: []rule.Match{rule.TCP()}, Target: rule.Jump(rule.Inbound), Why: "d"},
	})
}

func TestCompare(t *testing.T) {
	tests := []struct {
		name   string
		change func(*rule.Set)
		want   []string
	}{
		{"as planned", func(*rule.Set) {}, nil},
		{"chains in another order", func(s *rule.Set) {
			slices.Reverse(s.Chains)
			s.Rules = slices.Concat(s.Rules[3:], s.Rules[:3])
		}, nil},
		{"deleted", func(s *rule.Set) { s.Rules = slices.Delete(s.Rules, 1, 2) }, []string{
			`nat: missing rule "-A ISTIO_INBOUND -p tcp -m tcp --dport 2 -m comment --comment sluice/a -j RETURN"`}},
		{"jump deleted", func(s *rule.Set) { s.Rules = s.Rules[:4] }, []string{
			`nat: missing rule "-A PREROUTING -p tcp -m comment --comment sluice/d -j ISTIO_INBOUND"`}},
		{"inserted", func(s *rule.Set) {
			s.Rules = slices.Insert(s.Rules, 0, rule.Rule{Chain: rule.Inbound, Target: rule.Return()})
		}, []string{`nat: extra rule "-A ISTIO_INBOUND -j RETURN"`}},
		{"doubled", func(s *rule.Set) { s.Rules = slices.Insert(s.Rules, 0, s.Rules[0]) }, []string{
			`nat: extra rule "-A ISTIO_INBOUND -p tcp -m tcp --dport 1 -m comment --comment sluice/a -j RETURN"`}},
		{"reordered", func(s *rule.Set) { s.Rules[1], s.Rules[2] = s.Rules[2], s.Rules[1] }, []string{
			`nat: reordered rule "-A ISTIO_INBOUND -m comment --comment sluice/b -j ISTIO_IN_REDIRECT": it stands where ` +
				`"-A ISTIO_INBOUND -p tcp -m tcp --dport 2 -m comment --comment sluice/a -j RETURN" belongs`}},
		{"altered", func(s *rule.Set) { s.Rules[3].Target = rule.RedirectTo(1) }, []string{
			`nat: missing rule "-A ISTIO_IN_REDIRECT -p tcp -m comment --comment sluice/c -j REDIRECT --to-ports 15006"`,
			`nat: extra rule "-A ISTIO_IN_REDIRECT -p tcp -m comment --comment sluice/c -j REDIRECT --to-ports 1"`}},
		{"chains", func(s *rule.Set) { s.Chains[0] = "ISTIO_X" }, []string{"nat: extra chain ISTIO_X", "nat: missing chain ISTIO_INBOUND"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := planned()
			tt.change(&got)
			err := Compare(rule.Sets{rule.Nat: planned()}, rule.Sets{rule.Nat: got})
			var mismatch *Mismatch
			if errors.As(err, &mismatch) != (tt.want != nil) {
				t.Fatalf("Compare = %v", err)
			}
			if mismatch == nil {
				return
			}
			if diff := cmp.Diff(tt.want, mismatch.Differences); diff != "" {
				t.Errorf("differences (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCompareLooksAtEveryTable(t *testing.T) {
	inMangle := rule.SetOf([]rule.Rule{{Chain: rule.Prerouting, Target: rule.Drop(), Why: "x"}})
	tests := []struct {
		name      string
		want, got rule.Sets
		diff      []string
	}{
		{"missing", rule.Sets{rule.Mangle: inMangle}, nil,
			[]string{`mangle: missing rule "-A PREROUTING -m comment --comment sluice/x -j DROP"`}},
		{"extra", nil, rule.Sets{rule.Mangle: inMangle},
			[]string{`mangle: extra rule "-A PREROUTING -m comment --comment sluice/x -j DROP"`}},
		{"in the wrong table", rule.Sets{rule.Mangle: inMangle}, rule.Sets{rule.Nat: inMangle}, []string{
			`mangle: missing rule "-A PREROUTING -m comment --comment sluice/x -j DROP"`,
			`nat: extra rule "-A PREROUTING -m comment --comment sluice/x -j DROP"`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var mismatch *Mismatch
			if !errors.As(Compare(tt.want, tt.got), &mismatch) {
				t.Fatal("no mismatch")
			}
			if diff := cmp.Diff(tt.diff, mismatch.Differences); diff != "" {
				t.Errorf("differences (-want +got):\n%s", diff)
			}
		})
	}
}
