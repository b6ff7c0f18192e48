package nft_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/apply/nft"
	"github.com/sluicemesh/sluice/initcontainer/netlab"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// TestMain is also the program that TestKilled kills.
func TestMain(m *testing.M) {
	if os.Getenv(victim) != "" {
		fmt.Fprintln(os.Stdout, swapForever())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const victim = "SLUICE_TEST_SWAP_FOREVER"

// swapForever replaces rules until it fails. It says when it has begun.
func swapForever() error {
	sets := []both{defaults(), others()}
	ctx := context.Background() // there is no test to end it
	k := &nft.Kernel{}
	from, err := k.Read(ctx)
	for i := 0; err == nil; i++ {
		if err = k.Swap(ctx, from, sets[i%2]); err == nil {
			from = sets[i%2]
		}
		if i == 0 {
			fmt.Fprintln(os.Stdout, "begun")
		}
	}
	return err
}

// others is a set that captures inbound connections in mangle, other than defaults.
func others() both { return both{rule.IPv4: every(rule.IPv4), rule.IPv6: every(rule.IPv6)} }

// TestKilled: whenever the program is killed, the rules are one set or the other, or both
// ways of capturing inbound connections are in force, which is how one becomes the other.
func TestKilled(t *testing.T) {
	lab := netlab.New(t, false)
	first, second := defaults(), others()
	between, back := both{}, both{}
	for _, f := range []rule.Family{rule.IPv4, rule.IPv6} {
		between[f] = rule.Sets{rule.Nat: first[f][rule.Nat], rule.Mangle: second[f][rule.Mangle], rule.Raw: second[f][rule.Raw]}
		back[f] = rule.Sets{rule.Nat: first[f][rule.Nat], rule.Mangle: second[f][rule.Mangle]}
	}
	states := []both{first, second, between, back}
	seen := make([]int, len(states))
	for range 30 {
		err := netlab.In(lab.Pod, func() error {
			if err := killed(t); err != nil {
				return err
			}
			held, err := (&nft.Kernel{}).Read(t.Context())
			if err != nil {
				return err
			}
			i := slices.IndexFunc(states, func(s both) bool { return differ(s, held) == nil })
			if i < 0 {
				return fmt.Errorf("rules of no known state: %v", held)
			}
			seen[i]++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("in force after a kill: %v", seen)
}

// killed starts the program, and kills it at some moment after it has begun.
func killed(t *testing.T) error {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victim+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "begun\n" {
		return fmt.Errorf("the program said %q: %w", line, err)
	}
	<-time.After(time.Duration(rand.IntN(30_000)) * time.Microsecond)
	if err := cmd.Process.Kill(); err != nil {
		return err
	}
	if err := cmd.Wait(); err == nil {
		return errors.New("the program ended by itself")
	}
	return nil
}

// TestWithoutCapability: the error says what is missing and where to add it.
func TestWithoutCapability(t *testing.T) {
	err := netlab.In(netlab.New(t, false).Pod, func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&header, &data[0]); err != nil {
			return err
		}
		data[0].Effective &^= 1 << unix.CAP_NET_ADMIN
		if err := unix.Capset(&header, &data[0]); err != nil { // of this thread, which ends here
			return err
		}
		_, err := (&nft.Kernel{}).Read(t.Context())
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "capability NET_ADMIN") || !strings.Contains(err.Error(), "securityContext.capabilities") {
		t.Errorf("error %v; want one that names the capability and where to add it", err)
	}
}

// TestManyRules: what is more than a socket takes by itself still is one transaction.
func TestManyRules(t *testing.T) {
	c := capture.Default()
	c.InboundPorts = capture.Ports{}
	c.OutboundRanges = capture.Ranges{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")}}
	for i := range uint16(500) {
		c.InboundPorts.List = append(c.InboundPorts.List, 1000+i)
		c.OutboundPorts = append(c.OutboundPorts, 2000+i)
		c.OutboundExcludePorts = append(c.OutboundExcludePorts, 3000+i)
		c.OutboundExcludeRanges = append(c.OutboundExcludeRanges,
			netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24))
	}
	c.OwnerGroups = capture.Groups{}
	for i := range uint32(capture.MaxGroups) {
		c.OwnerGroups.List = append(c.OwnerGroups.List, 4000+i)
	}
	want := both{rule.IPv4: plan.Build(c, rule.IPv4).Rules, rule.IPv6: plan.Build(c, rule.IPv6).Rules}
	if n := want[rule.IPv4].Len() + want[rule.IPv6].Len(); n < 3500 {
		t.Fatalf("only %d rules", n)
	}
	within(t, func(k *nft.Kernel) error {
		if err := k.Swap(t.Context(), nil, want); err != nil {
			return err
		}
		got, err := k.Read(t.Context())
		if err != nil {
			return err
		}
		return differ(want, got)
	})
}

// TestOthersWrite: another program's change of its own rules does not get in the way, one
// of ours is found out.
func TestOthersWrite(t *testing.T) {
	lab := netlab.New(t, false)
	nftables := func(script string) error {
		return exec.CommandContext(t.Context(), "nft", script).Run()
	}
	err := netlab.In(lab.Pod, func() error {
		k := &nft.Kernel{}
		from, err := k.Read(t.Context())
		if err != nil {
			return err
		}
		if err := nftables("add table ip others"); err != nil {
			return err
		}
		if err := k.Swap(t.Context(), from, defaults()); err != nil {
			return fmt.Errorf("after a foreign change: %w", err)
		}
		if err := nftables("flush chain ip istio-proxy-nat istio-output"); err != nil {
			return err
		}
		if err := k.Swap(t.Context(), defaults(), nil); err == nil || !strings.Contains(err.Error(), "something else changes them") {
			return fmt.Errorf("after a change of ours: error %w", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRefusesWhatNoPlanContains(t *testing.T) {
	for _, r := range []rule.Rule{
		{Chain: rule.Output, Target: rule.Target{Action: rule.Foreign, Text: "LOG"}},
		{Chain: rule.Output, Target: rule.Target{}},
		{Chain: rule.Output, Target: rule.Return(), Match: []rule.Match{{Key: rule.Other, Value: "-m socket"}}},
		{Chain: rule.Output, Target: rule.Return(), Match: []rule.Match{{Key: rule.ConnState, Value: "DNAT"}}},
		{Chain: rule.Output, Target: rule.Return(), Match: []rule.Match{rule.To(netip.MustParsePrefix("fd00::/8"))}},
		{Chain: rule.Output, Target: rule.Return(), Match: []rule.Match{rule.To(netip.MustParsePrefix("0.0.0.0/0"))}},
		{Chain: rule.Output, Target: rule.Return(), Match: []rule.Match{rule.Leaving("a-name-of-16-char")}},
		{Chain: rule.Output, Target: rule.DivertTo(rule.IPv6, 1, 2)},
		{Chain: "OUTSIDE", Target: rule.Return()},
	} {
		sets := rule.Sets{rule.Mangle: rule.Set{Chains: []rule.Chain{"OUTSIDE"}, Rules: []rule.Rule{r}}}
		if r.Chain != "OUTSIDE" {
			sets = rule.Sets{rule.Mangle: rule.SetOf([]rule.Rule{r})}
			if text, err := nft.Text(rule.IPv4, sets); err == nil {
				t.Errorf("Text of %q = %s; want an error", r, text)
			}
		}
		within(t, func(k *nft.Kernel) error {
			if err := k.Swap(t.Context(), nil, both{rule.IPv4: sets}); err == nil {
				t.Errorf("rule %q was loaded", r)
			}
			got, err := k.Read(t.Context())
			if len(got) != 0 {
				t.Errorf("after a refused load of %q there are rules: %v", r, got)
			}
			return err
		})
	}
}
