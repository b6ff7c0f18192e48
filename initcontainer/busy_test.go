package initcontainer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluicemesh/sluice/initcontainer/host"
	"github.com/sluicemesh/sluice/initcontainer/netlab"
)

// TestRunsAtOnce: runs with different settings wait for each other, so that each finds what
// it wrote, and the last leaves nothing behind that was not there before.
func TestRunsAtOnce(t *testing.T) {
	for _, backend := range []string{"--force-iptables-binary=nft ", "--force-iptables-binary=legacy ", "--native-nftables "} {
		t.Run(backend, func(t *testing.T) {
			lab := netlab.New(t, true)
			before := lab.Output(t, "nft", "list", "ruleset")
			var g errgroup.Group
			for _, line := range []string{"-i * -b *", tproxyPod, "-i * -b *", "-i 10.0.0.0/8 -b 80"} {
				g.Go(func() error { return run(t, lab, backend+line).err })
			}
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
			mustRun(t, lab, "--cleanup-only")
			if after := lab.Output(t, "nft", "list", "ruleset"); after != before {
				t.Errorf("after cleanup:\n%s\nwant what was before:\n%s", after, before)
			}
		})
	}
}

// TestLock: one holder in a namespace, whoever waits gives up in time or with its context.
func TestLock(t *testing.T) {
	lab, other := netlab.New(t, false), netlab.New(t, false)
	err := netlab.In(lab.Pod, func() error {
		held, err := host.Lock(t.Context(), 0)
		if err != nil {
			return err
		}
		if _, err := host.Lock(t.Context(), time.Millisecond); !errors.Is(err, host.ErrBusy) {
			t.Errorf("second holder: %v, want ErrBusy", err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := host.Lock(gone, time.Minute); !errors.Is(err, context.Canceled) {
			t.Errorf("with an ended context: %v", err)
		}
		return held.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, pod := range map[string]*netlab.Lab{"after release": lab, "in another namespace": other} {
		err := netlab.In(pod.Pod, func() error {
			held, err := host.Lock(t.Context(), 0)
			if err != nil {
				return err
			}
			return held.Close()
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
