package nft_test

import (
	"runtime"
	"testing"

	"github.com/vishvananda/netns"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/apply/nft"
	"github.com/sluicemesh/sluice/initcontainer/netlab"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// defaults is the plan of a pod without annotations.
func defaults() both {
	c := capture.Default()
	c.InboundExcludePorts = []uint16{15090, 15021, 15020}
	return both{rule.IPv4: plan.Build(c, rule.IPv4).Rules, rule.IPv6: plan.Build(c, rule.IPv6).Rules}
}

// BenchmarkFresh is what an init container does: read, load and read back, in a namespace
// that has no rules. Making the namespace is not counted.
func BenchmarkFresh(b *testing.B) {
	want := defaults()
	runtime.LockOSThread() // never undone: the thread is in another namespace
	for b.Loop() {
		b.StopTimer()
		ns, err := netns.New()
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		load(b, want)
		b.StopTimer()
		if err := ns.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func load(b *testing.B, want both) {
	b.Helper()
	k := &nft.Kernel{}
	from, err := k.Read(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if err := k.Swap(b.Context(), from, want); err != nil {
		b.Fatal(err)
	}
	if from, err = k.Read(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := differ(want, from); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkReplace is one swap of a rule set for another, with reading back.
func BenchmarkReplace(b *testing.B) {
	small := defaults()
	other := capture.Default()
	other.InboundPorts = capture.Ports{List: []uint16{80}}
	sets := []both{small, {rule.IPv4: plan.Build(other, rule.IPv4).Rules, rule.IPv6: plan.Build(other, rule.IPv6).Rules}}
	err := netlab.In(netlab.New(b, true).Pod, func() error {
		for i := 0; b.Loop(); i++ {
			load(b, sets[i%2])
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
