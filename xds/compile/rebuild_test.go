package compile_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/compile"
	"github.com/sluicemesh/sluice/xds/envoy"
	"github.com/sluicemesh/sluice/xds/incr"
	"github.com/sluicemesh/sluice/xds/ir"
)

// replica is what a server that follows the updates would hold.
type replica struct {
	classes map[class.Class]map[envoy.Name]*envoy.Resource
}

// follow applies updates and fails on those that break their contract.
func (r *replica) follow(t *testing.T, updates []envoy.Update) {
	t.Helper()
	for _, u := range updates {
		has := r.classes[u.Class]
		if u.Whole != (has == nil) {
			t.Fatalf("class %v: Whole = %v", u.Class.Namespace, u.Whole)
		}
		if has == nil {
			has = map[envoy.Name]*envoy.Resource{}
			r.classes[u.Class] = has
		}
		for _, n := range u.Removed {
			if has[n] == nil {
				t.Fatalf("removes %v, which the class does not have", n)
			}
			delete(has, n)
		}
		for _, res := range u.Changed {
			n := envoy.Name{TypeURL: res.TypeURL, Name: res.Name}
			if slices.Contains(u.Removed, n) {
				t.Fatalf("changes and removes %v", n)
			}
			if old := has[n]; envoy.Equal(old, res) {
				t.Fatalf("sends %v again without a change", n)
			}
			has[n] = res
		}
	}
}

func versions(has map[envoy.Name]*envoy.Resource) map[envoy.Name]string {
	out := map[envoy.Name]string{}
	for n, r := range has {
		out[n] = r.Version
	}
	return out
}

// script is everything that was ever done to a graph, so that another can be brought to
// the same state from nothing.
type script struct {
	objects map[[3]string]compile.Edit
	classes []class.Class
	mesh    ir.Mesh
}

func (s *script) rebuilt(t *testing.T) (*compile.Graph, *replica) {
	t.Helper()
	g := compile.New(compile.Config{Mesh: s.mesh, OnPanic: failOnPanic(t)})
	for _, e := range s.objects {
		g.Apply([]compile.Edit{e})
	}
	for _, c := range s.classes {
		g.Connect(c)
	}
	r := &replica{map[class.Class]map[envoy.Name]*envoy.Resource{}}
	r.follow(t, g.Turn())
	return g, r
}

func failOnPanic(t testing.TB) func(incr.Panic) {
	return func(p incr.Panic) { t.Fatalf("node %s, key %v: %v\n%s", p.Node, p.Key, p.Value, p.Stack) }
}

func TestIncrementalEqualsRebuild(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		d := dice{rand.New(rand.NewPCG(seed, 7))}
		s := script{objects: map[[3]string]compile.Edit{}, mesh: testMesh()}
		g := compile.New(compile.Config{Mesh: s.mesh, OnPanic: failOnPanic(t)})
		r := &replica{map[class.Class]map[envoy.Name]*envoy.Resource{}}
		for turn := range 40 {
			for range 1 + d.IntN(4) {
				e := d.edit()
				g.Apply([]compile.Edit{e})
				k := [3]string{e.Kind, e.Namespace, e.Name}
				if e.Object == nil {
					delete(s.objects, k)
				} else {
					s.objects[k] = e
				}
			}
			s.churn(d, g, r)
			r.follow(t, g.Turn())
			if turn%5 != 4 {
				continue
			}
			fresh, want := s.rebuilt(t)
			compare(t, fmt.Sprintf("seed %d turn %d", seed, turn), g, fresh, r, want)
		}
	}
}

// churn connects and disconnects classes and changes the mesh settings now and then.
func (s *script) churn(d dice, g *compile.Graph, r *replica) {
	if c := d.class(); d.IntN(3) == 0 && !slices.Contains(s.classes, c) {
		s.classes = append(s.classes, c)
		g.Connect(c)
	}
	if len(s.classes) > 2 && d.IntN(4) == 0 {
		i := d.IntN(len(s.classes))
		g.Disconnect(s.classes[i])
		delete(r.classes, s.classes[i])
		s.classes = slices.Delete(s.classes, i, i+1)
	}
	if d.IntN(8) == 0 {
		s.mesh.Outbound = pick(d, ir.AllowAny, ir.RegistryOnly)
		s.mesh.AutoMTLS = d.IntN(3) > 0
		g.SetMesh(s.mesh)
	}
}

func compare(t *testing.T, at string, g, fresh *compile.Graph, got, want *replica) {
	t.Helper()
	for c, has := range want.classes {
		if diff := cmp.Diff(versions(has), versions(got.classes[c])); diff != "" {
			t.Fatalf("%s: class %+v (-rebuilt +incremental):\n%s", at, c, diff)
		}
		for n := range has {
			if diff := cmp.Diff(fresh.Explain(c, n.TypeURL, n.Name), g.Explain(c, n.TypeURL, n.Name)); diff != "" {
				t.Fatalf("%s: origins of %v: %s", at, n, diff)
			}
		}
		checkSnapshot(t, at, c, has)
	}
	a, _ := g.Problems()
	b, _ := fresh.Problems()
	if diff := cmp.Diff(b, a); diff != "" {
		t.Fatalf("%s: problems (-rebuilt +incremental):\n%s", at, diff)
	}
}
