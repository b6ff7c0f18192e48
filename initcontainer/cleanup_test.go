package initcontainer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/initcontainer/netlab"
)

// everything is all that a run may touch.
func everything(t *testing.T, lab *netlab.Lab) string {
	t.Helper()
	var out strings.Builder
	for _, line := range []string{
		"nft list ruleset", "ip rule list", "ip -6 rule list", "ip route list table all", "ip -6 route list table all", "ip addr list dev lo",
	} {
		words := strings.Fields(line)
		out.WriteString(lab.Output(t, words[0], words[1:]...))
	}
	return out.String()
}

// TestCleanupLeavesNothing: what was not there before the first run is not there after the
// last, the tables and base chains that iptables makes included.
func TestCleanupLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, settings := range []string{"-i * -b *", tproxyPod + " -t 77 -r 78 --redirect-dns --capture-all-dns INVALID_DROP=true"} {
		lab := netlab.New(t, true)
		before := everything(t, lab)
		mustRun(t, lab, "--force-iptables-binary=nft "+settings)
		if during := everything(t, lab); !strings.Contains(during, "table ip6 nat") {
			t.Fatalf("no rules:\n%s", during)
		}
		mustRun(t, lab, "--cleanup-only")
		if diff := cmp.Diff(before, everything(t, lab)); diff != "" {
			t.Errorf("%s: cleanup left a difference (-before +after):\n%s", settings, diff)
		}
		if again := mustRun(t, lab, "--cleanup-only"); strings.Count(again.log, "nothing to change") != 2 {
			t.Errorf("a second cleanup finds something:\n%s", again.log)
		}
	}
}

// TestCleanupKeepsWhatOthersUse: a table that others have put a rule into is not ours any
// more, even if we made it.
func TestCleanupKeepsWhatOthersUse(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, true)
	mustRun(t, lab, "--force-iptables-binary=nft -i * -b *")
	lab.Output(t, "iptables-nft", strings.Fields("-t nat -A POSTROUTING -p udp -j RETURN")...)
	mustRun(t, lab, "--cleanup-only")
	rules := lab.Output(t, "nft", "list", "ruleset")
	if !strings.Contains(rules, "table ip nat") || !strings.Contains(rules, "return") || strings.Contains(rules, "table ip6 nat") || strings.Contains(rules, "ISTIO") {
		t.Errorf("want the other's rule and no more:\n%s", rules)
	}
}

// TestCleanupOfIstio: what Istio's two backends leave behind goes, too, before a run of ours
// and with a cleanup.
func TestCleanupOfIstio(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "istio.nft")
	text := `
		table inet istio-proxy-nat {
			chain istio-redirect { meta l4proto tcp counter redirect to :15001; }
			chain output { type nat hook output priority -100; counter jump istio-redirect; }
		}
		table inet istio-proxy-raw { chain output { type filter hook output priority -300; udp dport 53 ct zone set 2; }; }
		table inet others { chain output { type filter hook output priority 0; tcp dport 9 drop; }; }
	`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"--cleanup-only", "-i * -b *"} {
		lab := netlab.New(t, true)
		lab.Output(t, "nft", "-f", file)
		for _, words := range []string{"-t nat -N ISTIO_REDIRECT", "-t nat -A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001", "-t nat -A OUTPUT -p tcp -j ISTIO_REDIRECT"} {
			lab.Output(t, "iptables-nft", strings.Fields(words)...)
		}
		mustRun(t, lab, line)
		rules := lab.Output(t, "nft", "list", "ruleset")
		if strings.Contains(rules, "inet istio-proxy") || !strings.Contains(rules, "table inet others") {
			t.Errorf("after %s:\n%s", line, rules)
		}
		if line == "--cleanup-only" && strings.Contains(rules, "ISTIO") {
			t.Errorf("chains are left:\n%s", rules)
		}
	}
}
