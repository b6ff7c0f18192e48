package initcontainer_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/initcontainer/apply/nft"
	"github.com/sluicemesh/sluice/initcontainer/netlab"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

// backend is a place for rules and the flag that chooses it.
type backend struct{ name, flag string }

const native = "--native-nftables"

// backends lists all that work here; that of nftables' own tables must.
func backends(t *testing.T) []backend {
	t.Helper()
	out := []backend{{"nftables", native}}
	for _, flavour := range flavours(t) {
		out = append(out, backend{"iptables-" + flavour, "--force-iptables-binary=" + flavour})
	}
	return out
}

var counters = regexp.MustCompile(`packets \d+ bytes \d+ `)

// ruleset is all that nft lists, with the numbers that a rule keeps for as long as it is
// not written anew, without what packets change.
func ruleset(t *testing.T, lab *netlab.Lab) string {
	t.Helper()
	return counters.ReplaceAllString(lab.Output(t, "nft", "-a", "list", "ruleset"), "")
}

var handles = regexp.MustCompile(` # handle \d+`)

// addForeignTables stands for another program's rules in nftables.
func addForeignTables(t *testing.T, lab *netlab.Lab) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "foreign.nft")
	text := `
		table inet firewall {
			set ports { type inet_service; elements = { 1, 2 }; }
			chain in { type filter hook prerouting priority -310; policy accept; tcp dport @ports counter drop; }
		}
		table ip istio-proxy { chain output { type nat hook output priority -90; tcp dport 7777 redirect to :8080; }; }
		table ip6 x { flags dormant; chain y { type filter hook output priority 0; policy drop; }; }
	`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	lab.Output(t, "nft", "-f", file)
}

func TestNativeCleanupLeavesWhatWasBefore(t *testing.T) {
	t.Parallel()
	for _, settings := range []string{"-i * -b *", tproxyPod + " INVALID_DROP=true --redirect-dns --capture-all-dns"} {
		t.Run(settings, func(t *testing.T) {
			lab := netlab.New(t, true)
			addForeignTables(t, lab)
			addForeignRules(t, lab, "nft")
			before := ruleset(t, lab)
			mustRun(t, lab, native+" "+settings)
			during := ruleset(t, lab)
			for line := range strings.Lines(before) {
				if !strings.Contains(during, line) {
					t.Errorf("foreign line %q is gone", line)
				}
			}
			if !strings.Contains(during, "table ip6 istio-proxy-nat") {
				t.Errorf("no rules were loaded:\n%s", during)
			}
			mustRun(t, lab, "--cleanup-only") // finds the backend by itself
			if diff := cmp.Diff(before, ruleset(t, lab)); diff != "" {
				t.Errorf("cleanup left a difference (-before +after):\n%s", diff)
			}
			mustRun(t, lab, "--cleanup-only "+native)
		})
	}
}

func TestNativeRunAgainChangesNothing(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, true)
	line := native + " " + tproxyPod + " -x 10.9.0.0/16 -q 1,2 -o 3,4 --redirect-dns --capture-all-dns"
	mustRun(t, lab, line)
	before := ruleset(t, lab)
	r := mustRun(t, lab, line)
	if strings.Count(r.log, "nothing to change") != 2 {
		t.Errorf("the log does not say for both families that there was nothing to do:\n%s", r.log)
	}
	if diff := cmp.Diff(before, ruleset(t, lab)); diff != "" {
		t.Errorf("rules changed (-before +after):\n%s", diff)
	}
}

// TestRulesMoveBetweenBackends: another backend takes over, and only one has rules then.
func TestRulesMoveBetweenBackends(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, true)
	lab.Serve(t, []uint16{8080}, []uint16{80})
	lab.ServeProxy(t, 15001, 15006)
	list := backends(t)
	holds := map[string]func() bool{
		"nftables":        func() bool { return strings.Contains(ruleset(t, lab), "istio-proxy-nat") },
		"iptables-nft":    func() bool { return strings.Contains(saved(t, lab, "nft"), "ISTIO_") },
		"iptables-legacy": func() bool { return strings.Contains(saved(t, lab, "legacy"), "ISTIO_") },
	}
	for i := range 2 * len(list) {
		now := list[i%len(list)]
		mustRun(t, lab, now.flag+" -i * -b *")
		for _, b := range list {
			if got, want := holds[b.name](), b == now; got != want {
				t.Errorf("%s: %s has rules: %t, want %t", now.name, b.name, got, want)
			}
		}
		to := netip.MustParseAddrPort(netlab.Pod4 + ":8080")
		if got := netlab.Dial(lab.Peer, app, netip.Addr{}, to); got.Listener != "15006" {
			t.Errorf("%s: peer reached %+v, want 15006", now.name, got)
		}
	}
}

// checkNative compares nftables' own tables with the plan of a command line.
func checkNative(t *testing.T, lab *netlab.Lab, line string) error {
	t.Helper()
	config, _, err := parse(line)
	if err != nil {
		t.Fatal(err)
	}
	return netlab.In(lab.Pod, func() error {
		held, err := (&nft.Kernel{}).Read(t.Context())
		if err != nil {
			return err
		}
		return verify.Compare(plan.Build(config, rule.IPv4).Rules, held[rule.IPv4])
	})
}

func TestNativeVerifyFindsTampering(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, tamper, want string }{
		{"emptied chain", "flush chain ip istio-proxy-nat output", `missing rule "-A OUTPUT -p tcp -m comment --comment sluice/outbound -j ISTIO_OUTPUT"`},
		{"inserted rule", "insert rule ip istio-proxy-nat istio-inbound tcp dport 8080 return", `extra rule "-A ISTIO_INBOUND -p tcp -m tcp --dport 8080 -j RETURN"`},
		{"condition on a set", `insert rule ip istio-proxy-nat istio-redirect tcp dport { 1, 2 } accept`, `extra rule "-A ISTIO_REDIRECT -p tcp lookup -j ACCEPT"`},
		{"unknown condition", `insert rule ip istio-proxy-nat istio-redirect fib daddr type local return`, `extra rule`},
		{"limited", `insert rule ip istio-proxy-nat istio-redirect limit rate 1/second return`, `extra rule "-A ISTIO_REDIRECT limit -j RETURN"`},
		{"extra chain", "add chain ip istio-proxy-nat foo", "extra chain foo"},
		{"another hook", "add chain ip istio-proxy-nat early { type filter hook prerouting priority -400; policy accept; }", "extra chain irregular"},
		{"policy", "add chain ip istio-proxy-nat output { policy drop; }", "extra chain irregular"},
		{"asleep", "add table ip istio-proxy-nat { flags dormant; }", "extra chain irregular"},
		{"both families", "add table inet istio-proxy-nat; add chain inet istio-proxy-nat istio-output", "extra chain inet istio-output"},
		{"gone", "delete table ip istio-proxy-nat", "missing chain ISTIO_OUTPUT"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			lab := netlab.New(t, true)
			line := native + " -i * -b *"
			mustRun(t, lab, line)
			before := handles.ReplaceAllString(ruleset(t, lab), "")
			lab.Output(t, "nft", tt.tamper)
			err := checkNative(t, lab, line)
			var mismatch *verify.Mismatch
			if !errors.As(err, &mismatch) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("verify says %v, want a mismatch with %s", err, tt.want)
			}
			mustRun(t, lab, line)
			if err := checkNative(t, lab, line); err != nil {
				t.Errorf("the next run does not repair: %v", err)
			}
			after := handles.ReplaceAllString(ruleset(t, lab), "")
			if len(before) != len(after) { // tables may be in another order
				t.Errorf("the next run does not repair (-before +after):\n%s", cmp.Diff(before, after))
			}
		})
	}
}

// TestNobodyListens: before the proxy does, what is diverted to it is dropped, not let
// through to the application.
func TestNobodyListens(t *testing.T) {
	t.Parallel()
	for _, b := range backends(t) {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			lab := netlab.New(t, true)
			lab.Serve(t, []uint16{8080}, nil)
			mustRun(t, lab, b.flag+" "+tproxyPod)
			for _, to := range []string{netlab.Pod4 + ":8080", "[" + netlab.Pod6 + "]:8080"} {
				got := netlab.Dial(lab.Peer, app, netip.Addr{}, netip.MustParseAddrPort(to))
				if got.Meant != "" || got.Listener == "8080" || got.Listener == "refused" {
					t.Errorf("%s: reached %+v; want packets to be dropped", to, got)
				}
			}
		})
	}
}

func TestNativeDryRunIsWhatIsLoaded(t *testing.T) {
	t.Parallel()
	dry, wet := netlab.New(t, true), netlab.New(t, true)
	line := native + " " + tproxyPod + " --redirect-dns --capture-all-dns"
	r := mustRun(t, dry, line+" -n")
	if got := ruleset(t, dry); got != "" {
		t.Errorf("a dry run wrote:\n%s", got)
	}
	if !strings.Contains(r.out, "# ip -4 rule add fwmark 1337 lookup 133\n") {
		t.Errorf("the routing is not printed:\n%s", r.out)
	}
	file := filepath.Join(t.TempDir(), "rules.nft")
	if err := os.WriteFile(file, []byte(r.out), 0o600); err != nil {
		t.Fatal(err)
	}
	dry.Output(t, "nft", "-f", file)
	mustRun(t, wet, line)
	loaded, printed := handles.ReplaceAllString(ruleset(t, wet), ""), handles.ReplaceAllString(ruleset(t, dry), "")
	if diff := cmp.Diff(loaded, printed); diff != "" {
		t.Errorf("nft -f of what is printed differs from what is loaded (-loaded +printed):\n%s", diff)
	}
}
