package nft_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/initcontainer/apply/nft"
	"github.com/sluicemesh/sluice/initcontainer/netlab"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// restore loads rules with iptables-nft.
func restore(t *testing.T, lab *netlab.Lab, f rule.Family, s rule.Sets) {
	t.Helper()
	program := "iptables-nft-restore"
	if f == rule.IPv6 {
		program = "ip6tables-nft-restore"
	}
	file := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(file, []byte(rule.Swap(nil, s)), 0o600); err != nil {
		t.Fatal(err)
	}
	lab.Output(t, program, "--noflush", file)
}

func TestReadsWhatIPTablesWrote(t *testing.T) {
	lab := netlab.New(t, true)
	want := both{rule.IPv4: every(rule.IPv4), rule.IPv6: every(rule.IPv6)}
	for f, sets := range want {
		for name, set := range sets {
			var rules []rule.Rule
			for _, r := range set.Rules {
				if r.Why == "" { // in the tables of iptables, a rule is ours by its comment
					r.Why = "unnamed"
				}
				// iptables cannot say the others.
				if r.Why != "two" && !slices.ContainsFunc(r.Match, func(m rule.Match) bool { return m.Key == rule.ConnDir && m.Not }) {
					rules = append(rules, r)
				}
			}
			sets[name] = rule.SetOf(rules)
		}
		restore(t, lab, f, sets)
	}
	err := netlab.In(lab.Pod, func() error {
		got, complete, err := (&nft.Kernel{}).ReadIPTables(t.Context())
		if err != nil {
			return err
		}
		if !complete {
			t.Error("not all that iptables wrote is understood")
		}
		return differ(want, got)
	})
	if err != nil {
		t.Error(err)
	}
}

// TestForeignRulesOfIPTables: what is not understood is said to be so, never left out.
func TestForeignRulesOfIPTables(t *testing.T) {
	lab := netlab.New(t, true)
	for _, line := range []string{
		"-t nat -N ISTIO_OUTPUT",
		"-t nat -A ISTIO_OUTPUT -p tcp -m multiport --dports 1,2 -j RETURN",
		"-t nat -A ISTIO_OUTPUT -p tcp --dport 1:7 -j RETURN",
		"-t nat -A ISTIO_OUTPUT -p tcp -j REDIRECT",
		"-t nat -A ISTIO_OUTPUT -p tcp -j REDIRECT --to-ports 5 --random",
		"-t nat -A ISTIO_OUTPUT -p tcp -j DNAT --to-destination 1.2.3.4",
		"-t nat -A ISTIO_OUTPUT -m owner --uid-owner 5-7 -j RETURN",
		"-t nat -A ISTIO_OUTPUT -m owner --socket-exists -j RETURN",
		"-t nat -A ISTIO_OUTPUT -m conntrack --ctstate SNAT -j RETURN",
		"-t nat -A ISTIO_OUTPUT -m comment --comment others -j RETURN",
		"-t nat -A ISTIO_OUTPUT -m mark --mark 5/7 -g ISTIO_OUTPUT_DNS",
		"-t nat -A ISTIO_OUTPUT -p tcp --tcp-flags SYN SYN",
		"-t nat -A OUTPUT -p icmp -j LOG",
	} {
		if strings.Contains(line, "-g ") {
			lab.Output(t, "iptables-nft", "-t", "nat", "-N", "ISTIO_OUTPUT_DNS")
		}
		lab.Output(t, "iptables-nft", strings.Fields(line)...)
	}
	var got []string
	err := netlab.In(lab.Pod, func() error {
		k := &nft.Kernel{}
		l, err := k.Listing(t.Context(), rule.IPv4)
		for _, r := range l.Rules[rule.Place{Backend: rule.IPTablesNft, Table: "nat", Chain: rule.Outbound}] {
			got = append(got, r.String())
		}
		for _, r := range l.Rules[rule.Place{Backend: rule.IPTablesNft, Table: "nat", Chain: rule.Output}] {
			got = append(got, r.String())
		}
		if _, complete, _ := k.ReadIPTables(t.Context()); complete {
			t.Error("all is said to be understood")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"-A ISTIO_OUTPUT -p tcp -m multiport -j RETURN",
		"-A ISTIO_OUTPUT -p tcp range -j RETURN",
		"-A ISTIO_OUTPUT -p tcp -j REDIRECT",
		"-A ISTIO_OUTPUT -p tcp -j REDIRECT",
		"-A ISTIO_OUTPUT -p tcp -j DNAT",
		"-A ISTIO_OUTPUT -m owner --uid-owner 5-7 -j RETURN",
		"-A ISTIO_OUTPUT -m owner -j RETURN",
		"-A ISTIO_OUTPUT -m conntrack -j RETURN",
		"-A ISTIO_OUTPUT -j RETURN",
		"-A ISTIO_OUTPUT -m mark --mark 0x5/0x7 -j -g ISTIO_OUTPUT_DNS",
		"-A ISTIO_OUTPUT -p tcp transport 13 op 0 02 -j ",
		"-A OUTPUT -p 1 -j LOG",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
