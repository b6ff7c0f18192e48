package main

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/apply/nft"
	"github.com/sluicemesh/sluice/initcontainer/apply/xtables"
	"github.com/sluicemesh/sluice/initcontainer/host"
	"github.com/sluicemesh/sluice/initcontainer/netlab"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// TestKilledAtAnyMoment ends the program and its children while it turns one rule set into
// another: whatever both capture is captured all the same, and the next run repairs.
func TestKilledAtAnyMoment(t *testing.T) {
	program := build(t)
	random := rand.New(rand.NewPCG(1, 5))
	lines := []string{"-i * -b * --drop-invalid", "-m TPROXY -i * -b *", "-i 8.8.8.0/24 -b 80 -q 5432"}
	for _, flavour := range []host.Flavour{host.Nft, host.Legacy} {
		t.Run(string(flavour), func(t *testing.T) {
			lab := netlab.New(t, true)
			force := "--force-iptables-binary=" + string(flavour) + " "
			took := 20 * time.Millisecond
			for round := range 24 {
				before, after := lines[round%len(lines)], lines[(round+1)%len(lines)]
				mustExecute(t, lab, program, force+before)
				kill(t, lab, time.Duration(random.Int64N(int64(took))), program, strings.Fields(force+after)...)
				for _, f := range []rule.Family{rule.IPv4, rule.IPv6} {
					held := listing(t, lab, flavour, f)
					if leaks := netlab.Leaks(f, parse(t, before), parse(t, after), held); len(leaks) > 0 {
						t.Errorf("from %q to %q, %s, killed:\n%s", before, after, f, strings.Join(leaks, "\n"))
					}
				}
				start := time.Now()
				mustExecute(t, lab, program, force+after)
				took = max(time.Since(start), 5*time.Millisecond)
			}
			mustExecute(t, lab, program, "--cleanup-only")
		})
	}
}

func mustExecute(t *testing.T, lab *netlab.Lab, program, line string) {
	t.Helper()
	if got := execute(t, lab, nil, program, strings.Fields(line)...); got.code != 0 {
		t.Fatalf("%q: exit code %d: %s%s", line, got.code, got.stdout, got.stderr)
	}
}

// kill starts the program in a process group of its own and ends all of that after a while.
func kill(t *testing.T, lab *netlab.Lab, after time.Duration, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := netlab.In(lab.Pod, cmd.Start); err != nil {
		t.Fatal(err)
	}
	<-time.After(after)
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err) // not waited for yet, so the group is there even if it has ended
	}
	_ = cmd.Wait() // killed, or done before
}

func parse(t *testing.T, line string) capture.Config {
	t.Helper()
	c, _, err := capture.Parse(strings.Fields(line), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func listing(t *testing.T, lab *netlab.Lab, flavour host.Flavour, f rule.Family) (l rule.Listing) {
	t.Helper()
	err := netlab.In(lab.Pod, func() error {
		k, err := xtables.Open(flavour, xtables.Options{Families: []rule.Family{f}, Nft: &nft.Kernel{}})
		if err != nil {
			return err
		}
		l, err = k.Listing(t.Context(), f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestTerminatedWhileItWaits: with the tables locked by another program it waits, and a
// signal ends it, its child and nothing else.
func TestTerminatedWhileItWaits(t *testing.T) {
	program := build(t)
	lab := netlab.New(t, true)
	lock := filepath.Join(t.TempDir(), "lock")
	file, err := os.Create(lock)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, strings.Fields("--force-iptables-binary=legacy "+defaultPod)...)
	cmd.Env = append(os.Environ(), "XTABLES_LOCKFILE="+lock)
	var out strings.Builder
	cmd.Stdout = &out
	if err := netlab.In(lab.Pod, cmd.Start); err != nil {
		t.Fatal(err)
	}
	waitForChild(t, cmd.Process.Pid)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its code is looked at
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(out.String(), "context canceled") {
		t.Errorf("exit code %d: %s", code, out.String())
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if save := lab.Output(t, "iptables-legacy-save"); strings.Contains(save, "ISTIO") {
		t.Errorf("rules are left:\n%s", save)
	}
}

// waitForChild waits until the process has one.
func waitForChild(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
		tasks, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			if children, err := os.ReadFile(task); err == nil && len(children) > 0 {
				return
			}
		}
	}
	t.Fatal("the program starts no child")
}

// TestWithoutCapability: an ordinary user is told what is missing.
func TestWithoutCapability(t *testing.T) {
	program := build(t)
	for dir := filepath.Dir(program); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, flag := range backends {
		got := executeAs(t, netlab.New(t, true), &syscall.Credential{Uid: 1000, Gid: 1000}, nil, program, strings.Fields(flag+" "+defaultPod)...)
		if got.code != 1 || !strings.Contains(got.stdout, "capability NET_ADMIN") {
			t.Errorf("%s: exit code %d: %s", name, got.code, got.stdout)
		}
	}
}
