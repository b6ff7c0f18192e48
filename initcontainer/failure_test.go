package initcontainer_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/initcontainer/apply/nft"
	"github.com/sluicemesh/sluice/initcontainer/apply/xtables"
	"github.com/sluicemesh/sluice/initcontainer/host"
	"github.com/sluicemesh/sluice/initcontainer/netlab"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

// check verifies the IPv4 rules of a command line in the lab's pod.
func check(t *testing.T, lab *netlab.Lab, line string) error {
	t.Helper()
	config, options, err := parse(line)
	if err != nil {
		t.Fatal(err)
	}
	return netlab.In(lab.Pod, func() error {
		k, err := xtables.Open(host.Flavour(options.Flavour), xtables.Options{Families: []rule.Family{rule.IPv4}, Nft: &nft.Kernel{}})
		if err != nil {
			return err
		}
		held, err := k.Read(t.Context())
		if err != nil {
			return err
		}
		return verify.Compare(plan.Build(config, rule.IPv4).Rules, held[rule.IPv4])
	})
}

// counting runs the real programs, makes dir/N at the Nth call, and fails that of number
// nth. Calls may be at the same time.
func counting(dir string, nth int) string {
	return fmt.Sprintf(`n=1; until mkdir %s/$n 2>/dev/null; do n=$((n+1)); done
[ $n = %d ] && { echo "made to fail" >&2; exit 4; }
exec $REAL "$@"`, dir, nth)
}

func TestFailureInTheMiddleChangesNothing(t *testing.T) {
	path := os.Getenv("PATH")
	for _, flavour := range flavours(t) {
		force := "--force-iptables-binary=" + flavour + " "
		for _, change := range [][2]string{
			{"", "-i * -b *"}, {"-q 80 -b 8080", "-i * -b *"}, {"", tproxyPod}, {tproxyPod, "-i * -b *"},
		} {
			before, line := change[0], change[1]
			calls := 0
			for nth := 0; nth <= calls; nth++ {
				t.Run(fmt.Sprintf("%s/after %q/%q/call %d", flavour, before, line, nth), func(t *testing.T) {
					lab := netlab.New(t, true)
					addForeignRules(t, lab, flavour)
					if before != "" {
						mustRun(t, lab, force+before)
					}
					want, wantRouting := lines(saved(t, lab, flavour)), routing(t, lab)
					dir := t.TempDir()
					t.Setenv("PATH", netlab.FakePrograms(t, counting(dir, nth), nil)+string(filepath.ListSeparator)+path)
					r := run(t, lab, force+line)
					if nth == 0 { // none fails: this counts the calls
						made, err := os.ReadDir(dir)
						if err != nil || r.err != nil {
							t.Fatal(err, r.err)
						}
						calls = len(made)
						t.Logf("%d child processes", calls)
						return
					}
					if r.err == nil || !strings.Contains(r.err.Error(), "exit status 4") {
						t.Errorf("call %s failed and the run says %v", strconv.Itoa(nth), r.err)
					}
					if diff := cmp.Diff(want, lines(saved(t, lab, flavour))); diff != "" {
						t.Errorf("rules changed (-before +after):\n%s\nthe run said %v", diff, r.err)
					}
					if diff := cmp.Diff(wantRouting, routing(t, lab)); diff != "" {
						t.Errorf("routing changed (-before +after):\n%s", diff)
					}
				})
			}
		}
	}
}

// TestFailureBetweenTables stands for a kernel that takes the first table and not the next.
func TestFailureBetweenTables(t *testing.T) {
	path := os.Getenv("PATH")
	fail := `case "$0" in *-restore) awk '/^\*/ && seen++ {exit} {print}' | $REAL "$@"; echo "made to fail" >&2; exit 4;; *) exec $REAL "$@";; esac`
	for _, flavour := range flavours(t) {
		for _, change := range [][2]string{{"", tproxyPod}, {tproxyPod, "-i * -b *"}, {"-b 80", tproxyPod}} {
			t.Run(fmt.Sprintf("%s/%q", flavour, change), func(t *testing.T) {
				lab := netlab.New(t, true)
				force := "--force-iptables-binary=" + flavour + " "
				if change[0] != "" {
					mustRun(t, lab, force+change[0])
				}
				want, wantRouting := lines(saved(t, lab, flavour)), routing(t, lab)
				file := filepath.Join(t.TempDir(), "calls")
				// Only the first restore fails; the second undoes it.
				body := fmt.Sprintf("[ -e %[1]s ] && exec $REAL \"$@\"; case \"$0\" in *-restore) touch %[1]s;; esac\n%[2]s", file, fail)
				t.Setenv("PATH", netlab.FakePrograms(t, body, nil)+string(filepath.ListSeparator)+path)
				if r := run(t, lab, force+change[1]); r.err == nil || !strings.Contains(r.err.Error(), "made to fail") {
					t.Errorf("the run says %v", r.err)
				}
				if diff := cmp.Diff(want, lines(saved(t, lab, flavour))); diff != "" {
					t.Errorf("rules changed (-before +after):\n%s", diff)
				}
				if diff := cmp.Diff(wantRouting, routing(t, lab)); diff != "" {
					t.Errorf("routing changed (-before +after):\n%s", diff)
				}
			})
		}
	}
}

// TestRulesThatDoNotStick stands for a kernel that takes a rule set and holds another.
func TestRulesThatDoNotStick(t *testing.T) {
	lab := netlab.New(t, true)
	lossy := `case "$0" in *-restore) grep -v -e '--dport 15008' | exec $REAL "$@";; *) exec $REAL "$@";; esac`
	t.Setenv("PATH", netlab.FakePrograms(t, lossy, nil)+string(filepath.ListSeparator)+os.Getenv("PATH"))
	r := run(t, lab, "-i * -b *")
	var mismatch *verify.Mismatch
	if !errors.As(r.err, &mismatch) {
		t.Fatalf("error %v, want a mismatch", r.err)
	}
	if save := saved(t, lab, "nft"); strings.Contains(save, "ISTIO") {
		t.Errorf("rules are left:\n%s", save)
	}
}

func TestPodWithoutIPv6(t *testing.T) {
	only4 := func(name string) bool { return strings.HasPrefix(name, "ip6tables") }
	for _, ipv6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("ipv6=%t", ipv6), func(t *testing.T) {
			lab := netlab.New(t, ipv6)
			full := os.Getenv("PATH")
			// No other program is found, so none for IPv6.
			t.Setenv("PATH", netlab.FakePrograms(t, `exec $REAL "$@"`, only4))
			r := run(t, lab, defaultPod)
			t.Setenv("PATH", full)
			save := saved(t, lab, "nft")
			if ipv6 {
				if r.err == nil || !strings.Contains(r.err.Error(), "IPv6: program ip6tables-nft is not in the image") {
					t.Errorf("error %v, want one that names the program for IPv6", r.err)
				}
				if strings.Contains(save, "ISTIO") {
					t.Errorf("half of the pod is captured:\n%s", save)
				}
				return
			}
			if r.err != nil || !strings.Contains(r.log, "IPv6 is not captured") {
				t.Errorf("error %v, log %s; want success with a warning", r.err, r.log)
			}
			if !strings.Contains(save, "ISTIO_OUTPUT") {
				t.Errorf("IPv4 is not captured:\n%s", save)
			}
		})
	}
}

// TestLoopbackIPv6IsCaptured: a pod without an IPv6 address gets the rules all the same
// where the programs are there, so that an address given later does not leak.
func TestLoopbackIPv6IsCaptured(t *testing.T) {
	lab := netlab.New(t, false)
	mustRun(t, lab, defaultPod)
	if save := lab.Output(t, "ip6tables-nft-save"); !strings.Contains(save, "-j ISTIO_OUTPUT") {
		t.Errorf("no IPv6 rules:\n%s", save)
	}
}

func TestNoAddress(t *testing.T) {
	lab := netlab.New(t, true)
	for _, cidr := range []string{netlab.Pod4 + "/24", netlab.Pod6 + "/64"} {
		lab.DropAddress(t, cidr)
	}
	r := run(t, lab, defaultPod)
	if r.err == nil || !strings.Contains(r.err.Error(), "no IPv4 or IPv6 address") {
		t.Errorf("error %v", r.err)
	}
	mustRun(t, lab, "--cleanup-only")
}
