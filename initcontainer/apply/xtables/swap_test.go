package xtables

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/apply/nft"
	"github.com/sluicemesh/sluice/initcontainer/netlab"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// TestEveryPrefixOfASwapIsSafe: after each transaction of a swap, which is where it may be
// killed, what both rule sets capture is captured.
func TestEveryPrefixOfASwapIsSafe(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 12))
	states := 0
	for range 150 {
		before, after := settings(t, random), settings(t, random)
		for _, f := range []rule.Family{rule.IPv4, rule.IPv6} {
			for _, held := range prefixes(f, plan.Build(before, f).Rules, plan.Build(after, f).Rules) {
				states++
				leaks := netlab.Leaks(f, before, after, rule.ListingOf(rule.IPTablesNft, held))
				if len(leaks) > 0 {
					t.Fatalf("from %q to %q, %s, in between:\n%s", before.Args(), after.Args(), f, strings.Join(leaks, "\n"))
				}
			}
		}
	}
	if states < 300 {
		t.Errorf("only %d states were looked at", states)
	}
}

// prefixes are the states that a swap goes through, the last of them to.
func prefixes(f rule.Family, from, to rule.Sets) []rule.Sets {
	var out []rule.Sets
	held := rule.Sets{}
	for t, set := range from {
		held[t] = set
	}
	for _, stage := range nft.Stages(map[rule.Family]rule.Sets{f: from}, map[rule.Family]rule.Sets{f: to}) {
		text := rule.Swap(changed(held, stage[f]))
		for line := range strings.Lines(text) {
			name, ok := strings.CutPrefix(strings.TrimSpace(line), "*")
			if !ok {
				continue
			}
			next := rule.Sets{}
			for t, set := range held {
				next[t] = set
			}
			next[rule.Table(name)] = stage[f][rule.Table(name)]
			held = next
			out = append(out, held)
		}
	}
	return out
}

// settings are random ones of those that decide in which table something is captured.
func settings(t *testing.T, random *rand.Rand) capture.Config {
	t.Helper()
	pick := func(values ...string) []string { return strings.Fields(values[random.IntN(len(values))]) }
	var args []string
	for _, words := range [][]string{
		pick("-m REDIRECT", "-m TPROXY", "-m TPROXY"),
		pick("-i *", "-i 10.0.0.0/8,fd00::/8", "-i *", ""),
		pick("-b *", "-b 80,8080", "-b *", ""),
		pick("-d 15020,22", ""), pick("-o 22", "-o 53", "", ""), pick("-q 5432", "", ""),
		pick("-x 10.1.0.0/16", "", ""), pick("-c net1", "", ""), pick("-k net2", "", ""),
		pick("--drop-invalid", ""), pick("--redirect-dns --capture-all-dns", "", ""),
		pick("-u 1337,5", ""),
	} {
		args = append(args, words...)
	}
	c, _, err := capture.Parse(args, func(string) string { return "" })
	if err != nil {
		t.Fatalf("parse %q: %v", args, err)
	}
	return c
}

// TestMovedCaptureOverlaps: a swap between the modes has a state in which both tables
// capture inbound connections; without it some packet meets neither.
func TestMovedCaptureOverlaps(t *testing.T) {
	parse := func(line string) capture.Config {
		c, _, err := capture.Parse(strings.Fields(line), func(string) string { return "" })
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	tproxy, redirect := parse("-m TPROXY -b * --drop-invalid"), parse("-b * --drop-invalid")
	for _, pair := range [][2]capture.Config{{tproxy, redirect}, {redirect, tproxy}} {
		from, to := plan.Build(pair[0], rule.IPv4).Rules, plan.Build(pair[1], rule.IPv4).Rules
		both := false
		for _, held := range prefixes(rule.IPv4, from, to) {
			both = both || len(held.Marks()) > 0 && strings.Contains(rule.Swap(nil, held), "-j ISTIO_IN_REDIRECT")
		}
		if !both {
			t.Errorf("from %s to %s: in no state both capture", pair[0].Mode, pair[1].Mode)
		}
		naked := rule.Sets{rule.Mangle: plan.Build(redirect, rule.IPv4).Rules[rule.Mangle], rule.Nat: plan.Build(tproxy, rule.IPv4).Rules[rule.Nat]}
		if len(netlab.Leaks(rule.IPv4, pair[0], pair[1], rule.ListingOf(rule.IPTablesNft, naked))) == 0 {
			t.Error("no leak is found where neither table captures: this test finds nothing")
		}
	}
}
