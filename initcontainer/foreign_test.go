package initcontainer_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluicemesh/sluice/initcontainer/netlab"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

// TestForeignLeak: a rule of others that takes what is to be captured keeps the pod from
// starting, and nothing is left of the run; settings that want the same make it right. In
// tables of our own we are asked after theirs all the same, so there it is no leak.
func TestForeignLeak(t *testing.T) {
	for flavour, program := range map[string]string{"nft": "iptables-nft", "legacy": "iptables-legacy"} {
		t.Run(flavour, func(t *testing.T) {
			lab := netlab.New(t, true)
			lab.ServeProxy(t, 15001)
			lab.Output(t, program, "-t", "nat", "-A", "OUTPUT", "-d", netlab.Remote4+"/32", "!", "-o", "lo", "-j", "ACCEPT")
			before := lab.Output(t, program+"-save", "-t", "nat")
			line := "--force-iptables-binary=" + flavour + " -i * -b *"

			r := run(t, lab, line)
			var leak *verify.Disproof
			named := "-d " + netlab.Remote4 + "/32"
			if !errors.As(r.err, &leak) || !leak.Differences[0].Foreign || !strings.Contains(r.err.Error(), named) {
				t.Fatalf("run beside a leak: %v; want a proof against it that names %s", r.err, named)
			}
			if after := lab.Output(t, program+"-save", "-t", "nat"); rulesOf(after) != rulesOf(before) {
				t.Errorf("after the failed run:\n%s\nwant what was before:\n%s", after, before)
			}
			mustRun(t, lab, line+" -x "+netlab.Remote4)
			mustRun(t, lab, "--cleanup-only")
			mustRun(t, lab, "--native-nftables -i * -b *")
			to := netip.MustParseAddrPort(netlab.Remote4 + ":80")
			if got := netlab.Dial(lab.Pod, app, netip.Addr{}, to); got.Listener != "15001" {
				t.Errorf("beside our own tables the rule lets %s past: reached %q, want 15001", to, got.Listener)
			}
		})
	}
}

// TestForeignLeakBetweenRuns: a run that finds its rules in place proves all the same, and
// leaves what it finds.
func TestForeignLeakBetweenRuns(t *testing.T) {
	for _, tt := range []struct {
		line string
		leak []string
	}{
		{"--force-iptables-binary=nft -i * -b *", []string{"iptables-nft", "-t", "nat", "-I", "OUTPUT", "-d", netlab.Remote4 + "/32", "-j", "ACCEPT"}},
		{"--force-iptables-binary=nft -i * -b *", []string{"iptables-nft", "-t", "raw", "-I", "OUTPUT", "-d", netlab.Remote4 + "/32", "-j", "NOTRACK"}},
		{"--force-iptables-binary=legacy -i * -b *", []string{"iptables-legacy", "-t", "nat", "-I", "OUTPUT", "-d", netlab.Remote4 + "/32", "-j", "ACCEPT"}},
		{"--force-iptables-binary=legacy -i * -b *", []string{"iptables-legacy", "-t", "raw", "-I", "OUTPUT", "-d", netlab.Remote4 + "/32", "-j", "NOTRACK"}},
		{"--native-nftables -i * -b *", []string{"nft", "table ip other { chain output { type nat hook output priority -110; ip daddr " + netlab.Remote4 + " tcp dport 80 redirect to :9; }; }"}},
		{"--native-nftables -i * -b *", []string{"nft", "table inet other { chain output { type filter hook output priority -400; ip daddr " + netlab.Remote4 + " notrack; }; }"}},
	} {
		t.Run(strings.Join(tt.leak, " "), func(t *testing.T) {
			lab := netlab.New(t, true)
			mustRun(t, lab, tt.line)
			lab.Output(t, tt.leak[0], tt.leak[1:]...)
			before := lab.Output(t, "nft", "list", "ruleset")
			r := run(t, lab, tt.line)
			if r.err == nil || !strings.Contains(r.err.Error(), netlab.Remote4) {
				t.Fatalf("second run beside a leak: %v; want an error that names %s", r.err, netlab.Remote4)
			}
			if after := lab.Output(t, "nft", "list", "ruleset"); after != before {
				t.Errorf("after the failed run:\n%s\nwant what was before:\n%s", after, before)
			}
		})
	}
}

// rulesOf is the lines of a listing that are rules.
func rulesOf(save string) string {
	var out []string
	for line := range strings.Lines(save) {
		if strings.HasPrefix(line, "-A ") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}
