package initcontainer_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer"
	"github.com/sluicemesh/sluice/initcontainer/host"
	"github.com/sluicemesh/sluice/initcontainer/netlab"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

const defaultPod = "istio-iptables -p 15001 -z 15006 -u 1337 -m REDIRECT -i * -b * -d 15090,15021,15020"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// result is what a run said.
type result struct {
	log, out string
	err      error
}

// run is what sluice-init does with a command line, in the lab's pod.
func run(t *testing.T, lab *netlab.Lab, line string) result {
	t.Helper()
	return runIn(t, lab, "", line)
}

// runIn is run with a file of servers for DNS.
func runIn(t *testing.T, lab *netlab.Lab, resolvers, line string) result {
	t.Helper()
	config, options, err := parse(line)
	if err != nil {
		t.Fatal(err)
	}
	var log, out bytes.Buffer
	err = netlab.In(lab.Pod, func() error {
		return initcontainer.Run(t.Context(), initcontainer.Config{
			Capture: config, Options: options, Log: slog.New(slog.NewTextHandler(&log, nil)), Out: &out, Resolvers: resolvers,
		})
	})
	return result{log.String(), out.String(), err}
}

// parse reads a command line; words such as NAME=VALUE are variables of the environment.
func parse(line string) (capture.Config, capture.Options, error) {
	env := map[string]string{}
	var args []string
	for _, word := range strings.Fields(line) {
		if name, value, ok := strings.Cut(word, "="); ok && !strings.HasPrefix(word, "-") {
			env[name] = value
		} else {
			args = append(args, word)
		}
	}
	return capture.Parse(args, func(name string) string { return env[name] })
}

func mustRun(t *testing.T, lab *netlab.Lab, line string) result {
	t.Helper()
	return mustRunIn(t, lab, "", line)
}

func mustRunIn(t *testing.T, lab *netlab.Lab, resolvers, line string) result {
	t.Helper()
	r := runIn(t, lab, resolvers, line)
	if r.err != nil {
		t.Fatalf("run %q: %v", line, r.err)
	}
	return r
}

// flavours lists those that the kernel has. For one that it lacks the test demands the
// error that a user would see.
func flavours(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, flavour := range []host.Flavour{host.Nft, host.Legacy} {
		r := run(t, netlab.New(t, true), "--force-iptables-binary="+string(flavour)+" -i *")
		switch {
		case r.err == nil:
			out = append(out, string(flavour))
		case !strings.Contains(r.err.Error(), "load module"):
			t.Errorf("flavour %s does not work here and the error does not say what is missing: %v", flavour, r.err)
		default:
			t.Logf("this kernel lacks %s: %v", flavour, r.err)
		}
	}
	if len(out) == 0 {
		t.Fatal("no flavour of iptables works here")
	}
	return out
}

var volatile = regexp.MustCompile(`(?m)^#.*\n|\[\d+:\d+\]`)

// saved is all rules of the pod, those of others too, without times and counters.
func saved(t *testing.T, lab *netlab.Lab, flavour string) string {
	t.Helper()
	all := lab.Output(t, "iptables-"+flavour+"-save") + lab.Output(t, "ip6tables-"+flavour+"-save")
	return volatile.ReplaceAllString(all, "")
}

// addForeignRules stands for another program's rules, around and like ours, that take
// nothing of what is to be captured: that would be a leak.
func addForeignRules(t *testing.T, lab *netlab.Lab, flavour string) {
	t.Helper()
	for _, family := range []string{"iptables-", "ip6tables-"} {
		for _, line := range []string{
			"-t nat -N FOREIGN", "-t nat -A FOREIGN -p udp --dport 7777 -j REDIRECT --to-ports 8080",
			"-t nat -A OUTPUT -j FOREIGN", "-t nat -A PREROUTING -p udp -m comment --comment sluices-of-others -j FOREIGN",
			"-t nat -A POSTROUTING -p udp -j RETURN", "-t filter -A INPUT -p tcp --dport 15001 -j ACCEPT",
			"-t mangle -A OUTPUT -p udp -m mark --mark 5 -j RETURN",
		} {
			lab.Output(t, family+flavour, strings.Fields(line)...)
		}
	}
}

func TestRunAgainChangesNothing(t *testing.T) {
	for _, flavour := range flavours(t) {
		t.Run(flavour, func(t *testing.T) {
			lab := netlab.New(t, true)
			line := "--force-iptables-binary=" + flavour + " -i 10.1.2.3/8,fd00::1/8 -x 10.9.0.0/16 -q 1,2 -o 3,4 -b 5,6"
			mustRun(t, lab, line)
			before := saved(t, lab, flavour)
			// A run that would write anything fails with these programs.
			fakes := netlab.FakePrograms(t, `case "$0" in *-restore) exit 9;; esac; exec $REAL "$@"`, nil)
			t.Setenv("PATH", fakes+string(filepath.ListSeparator)+os.Getenv("PATH"))
			r := mustRun(t, lab, line)
			if got := strings.Count(r.log, "nothing to change"); got != 2 {
				t.Errorf("the log does not say for both families that there was nothing to do:\n%s", r.log)
			}
			if diff := cmp.Diff(before, saved(t, lab, flavour)); diff != "" {
				t.Errorf("rules changed (-before +after):\n%s", diff)
			}
		})
	}
}

func TestRunReplacesOtherRules(t *testing.T) {
	for _, flavour := range flavours(t) {
		t.Run(flavour, func(t *testing.T) {
			force := "--force-iptables-binary=" + flavour + " "
			other := force + "-q 80 -b 8080 -u 5,6"
			fresh := netlab.New(t, true)
			mustRun(t, fresh, other)
			lab := netlab.New(t, true)
			// Chains of another version that we do not make, jumping to each other.
			for _, line := range []string{
				"-t nat -N ISTIO_OUTPUT", "-t nat -N ISTIO_OUTPUT_DNS", "-t nat -A OUTPUT -j ISTIO_OUTPUT",
				"-t nat -A ISTIO_OUTPUT -j ISTIO_OUTPUT_DNS", "-t nat -A ISTIO_OUTPUT_DNS -p udp --dport 53 -j REDIRECT --to-ports 15053",
			} {
				lab.Output(t, "iptables-"+flavour, strings.Fields(line)...)
			}
			for _, line := range []string{force + "-i * -b *", other} {
				mustRun(t, lab, line)
			}
			if diff := cmp.Diff(lines(saved(t, fresh, flavour)), lines(saved(t, lab, flavour))); diff != "" {
				t.Errorf("replaced rules differ from fresh ones (-fresh +replaced):\n%s", diff)
			}
		})
	}
}

// lines returns the rules and the number of chains that are not built in, as older ones are
// listed first.
func lines(save string) (out []string) {
	for line := range strings.Lines(save) {
		if strings.HasPrefix(line, "-A") {
			out = append(out, line)
		}
	}
	return append(out, fmt.Sprint(strings.Count(save, " - ")))
}

func TestCleanupLeavesWhatWasBefore(t *testing.T) {
	for _, flavour := range flavours(t) {
		t.Run(flavour, func(t *testing.T) {
			lab := netlab.New(t, true)
			addForeignRules(t, lab, flavour)
			before := saved(t, lab, flavour)
			mustRun(t, lab, "--force-iptables-binary="+flavour+" "+defaultPod[len("istio-iptables "):])
			during := saved(t, lab, flavour)
			for line := range strings.Lines(before) {
				if !strings.Contains(during, line) {
					t.Errorf("foreign line %q is gone", line)
				}
			}
			mustRun(t, lab, "--cleanup-only") // finds the flavour by itself
			if diff := cmp.Diff(before, saved(t, lab, flavour)); diff != "" {
				t.Errorf("cleanup left a difference (-before +after):\n%s", diff)
			}
			mustRun(t, lab, "--cleanup-only")
		})
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	lab := netlab.New(t, true)
	before := saved(t, lab, "nft")
	r := mustRun(t, lab, "-n "+defaultPod[len("istio-iptables "):])
	if diff := cmp.Diff(before, saved(t, lab, "nft")); diff != "" {
		t.Errorf("a dry run wrote (-before +after):\n%s", diff)
	}
	families := strings.Split(r.out, "# IPv6\n")
	if len(families) != 2 {
		t.Fatalf("no IPv6 part in:\n%s", r.out)
	}
	// What is printed is what iptables-restore takes.
	file := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(file, []byte(families[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	lab.Output(t, "iptables-nft-restore", "--noflush", "--test", file)
}

func TestVerifyFindsTampering(t *testing.T) {
	tests := []struct {
		name   string
		tamper []string
		want   string
	}{
		{"deleted rule", []string{"-D ISTIO_OUTPUT 1"}, `missing rule "-A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -m comment --comment sluice/proxy-to-application -j RETURN"`},
		{"deleted jump", []string{"-D PREROUTING 1"}, `missing rule "-A PREROUTING -p tcp -m comment --comment sluice/inbound -j ISTIO_INBOUND"`},
		{"inserted rule", []string{"-I ISTIO_INBOUND -p tcp --dport 8080 -j RETURN"}, `extra rule "-A ISTIO_INBOUND -p tcp -m tcp --dport 8080 -j RETURN"`},
		{"doubled jump", []string{"-A OUTPUT -p tcp -m comment --comment sluice/outbound -j ISTIO_OUTPUT"}, `extra rule "-A OUTPUT`},
		{"foreign jump", []string{"-N FOREIGN", "-A FOREIGN -p udp -j ISTIO_REDIRECT"}, `extra rule "-A FOREIGN -p udp -j ISTIO_REDIRECT"`},
		{"reordered rule", []string{"-D ISTIO_INBOUND 1", "-A ISTIO_INBOUND -p tcp -m tcp --dport 15008 -m comment --comment sluice/tunnel -j RETURN"},
			`reordered rule "-A ISTIO_INBOUND -p tcp -m tcp --dport 15090`},
		{"narrowed rule", []string{"-R ISTIO_REDIRECT 1 -p tcp -m mark --mark 5 -m comment --comment sluice/to-outbound-listener -j REDIRECT --to-ports 15001"},
			`extra rule "-A ISTIO_REDIRECT -p tcp -m mark --mark 0x5`},
		{"other port", []string{"-R ISTIO_REDIRECT 1 -p tcp -m comment --comment sluice/to-outbound-listener -j REDIRECT --to-ports 15002"},
			`--to-ports 15002"`},
		{"extra chain", []string{"-N ISTIO_FOO"}, "extra chain ISTIO_FOO"},
	}
	for _, flavour := range flavours(t) {
		for _, tt := range tests {
			t.Run(flavour+"/"+tt.name, func(t *testing.T) {
				lab := netlab.New(t, true)
				force := "--force-iptables-binary=" + flavour + " "
				line := force + defaultPod[len("istio-iptables "):]
				mustRun(t, lab, line)
				before := saved(t, lab, flavour)
				for _, words := range tt.tamper {
					lab.Output(t, "iptables-"+flavour, append([]string{"-t", "nat"}, strings.Fields(words)...)...)
				}
				err := check(t, lab, line)
				var mismatch *verify.Mismatch
				if !errors.As(err, &mismatch) || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("verify says %v, want a mismatch with %s", err, tt.want)
				}
				if strings.Contains(tt.name, "foreign") {
					return // a chain of others that uses ours cannot be repaired
				}
				mustRun(t, lab, line)
				if diff := cmp.Diff(lines(before), lines(saved(t, lab, flavour))); diff != "" {
					t.Errorf("the next run does not repair (-before +after):\n%s", diff)
				}
			})
		}
	}
}
