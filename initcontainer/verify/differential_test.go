package verify_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/intent"
	"github.com/sluicemesh/sluice/initcontainer/model"
	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

var families = []rule.Family{rule.IPv4, rule.IPv6}

// backends differ in what conditions on owners mean.
var backends = []rule.Backend{rule.IPTablesNft, rule.NFTables}

// same is whether two outcomes are the same, whatever is said about them.
func same(a, b packet.Outcome) bool {
	a.Because, b.Because = "", ""
	return a == b
}

// TestRandomPlansAreProven: the plan of any settings does what they want.
func TestRandomPlansAreProven(t *testing.T) {
	for seed := range uint64(600) {
		c := randomConfig(rand.New(rand.NewPCG(seed, 0)))
		for _, f := range families {
			for _, b := range backends {
				if err := verify.Prove(c, f, rule.ListingOf(b, plan.Build(c, f).Rules)); err != nil {
					t.Fatalf("seed %d, %s, %s: %+v\n%s", seed, f, b, c, explain(err))
				}
			}
		}
	}
}

// FuzzModel compares what the model says of classes with what becomes of single packets, and
// what is wanted of classes with what is wanted of single packets.
func FuzzModel(f *testing.F) {
	for seed := range uint64(150) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := randomConfig(r)
		family, backend := one(r, families...), one(r, backends...)
		sets := plan.Build(c, family).Rules
		if all := mutants(sets); len(all) > 0 && r.IntN(4) > 0 {
			sets = one(r, all...).sets // rules that do wrong are to be understood as well
		}
		compareModel(t, r, subject{c, family, backend, sets})
	})
}

// subject is rules under test with the settings that they are for.
type subject struct {
	config  capture.Config
	family  rule.Family
	backend rule.Backend
	sets    rule.Sets
}

func (s subject) walk(p packet.Packet) packet.Outcome {
	return walk(s.sets, s.config, s.backend == rule.NFTables, p)
}

func compareModel(t *testing.T, r *rand.Rand, s subject) {
	t.Helper()
	routing := model.Routing{Mark: s.config.TProxyMark, Marked: s.config.Mode == capture.TProxy}
	m := model.New(rule.ListingOf(s.backend, s.sets), s.family, routing)
	wish := intent.New(s.config, s.family)
	reserved := packet.Marked(s.config.TProxyMark + 1)
	space := packet.NewSpace(s.family, append(append(wish.Sets(), m.Sets()...), &reserved))
	m.Bind(space)
	for _, class := range space.Possible(s.family, true, s.config.TProxyMark+1) {
		m.Explore(class, func(w model.Way) bool {
			p := w.Class.Example()
			if got := s.walk(p); !same(got, w.Outcome) {
				t.Errorf("%s: class %s: %s; packet: %s", p, w.Class, w.Outcome, got)
			}
			return !t.Failed()
		})
	}
	v := valuesOf(s.config, s.family, s.sets)
	for range 300 {
		p := v.packet(r)
		ways := m.Trace(space.Only(p))
		if got := s.walk(p); len(ways) != 1 || !same(got, ways[0].Outcome) {
			t.Fatalf("%s: model %v; packet: %s", p, ways, got)
		}
	}
}

// leaks is some packet, of many, that the rules send where it should not go.
func leaks(r *rand.Rand, s subject) (string, bool) {
	v := valuesOf(s.config, s.family, s.sets)
	wish := intent.New(s.config, s.family)
	for range 400 {
		p := v.packet(r)
		if got, want := s.walk(p), wish.Of(p); !got.Satisfies(want) {
			return fmt.Sprintf("%s: %s, wanted %s (%s)", p, got, want, want.Because), true
		}
	}
	return "", false
}
