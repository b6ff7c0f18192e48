package incr

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

func TestEqualOutputsStop(t *testing.T) {
	g := New(nil)
	in := NewInput[string](g, "in", same[int])
	half := FlatMap(g, "half", in.Collection, same[int], func(_ *Ctx, k string, v int) []Entry[string, int] {
		return []Entry[string, int]{{k, v / 2}}
	})
	FlatMap(g, "after", half, same[int], func(_ *Ctx, k string, v int) []Entry[string, int] {
		return []Entry[string, int]{{k, v}}
	})
	for i, c := range []struct{ value, ran int }{{4, 2}, {5, 1}, {5, 0}, {6, 2}} {
		in.Set("k", c.value)
		if ran := g.Turn(); ran != c.ran {
			t.Errorf("edit %d: %d transforms ran, want %d", i, ran, c.ran)
		}
	}
}

func TestPanicKeepsLastGoodOutput(t *testing.T) {
	var reports []string
	g := New(func(p Panic) { reports = append(reports, fmt.Sprint(p.Node, p.Key, p.Value, len(p.Stack) > 0)) })
	in := NewInput[string](g, "in", same[int])
	limit := NewInput[string](g, "limit", same[int])
	out := FlatMap(g, "map", in.Collection, same[int], func(ctx *Ctx, k string, v int) []Entry[string, int] {
		if l, _ := Get(ctx, limit.Collection, "l"); v > l {
			panic("too much")
		}
		return []Entry[string, int]{{k, v}}
	})
	limit.Set("l", 5)
	in.Set("a", 1)
	in.Set("b", 2)
	g.Turn()
	in.Set("a", 9)
	in.Set("b", 3)
	g.Turn()
	if diff := gocmp.Diff(map[string]int{"a": 1, "b": 3}, contents(out)); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff([]string{"mapatoo muchtrue"}, reports); diff != "" {
		t.Error(diff)
	}
	limit.Set("l", 10) // the row still depends on what it read before it panicked
	g.Turn()
	if diff := gocmp.Diff(map[string]int{"a": 9, "b": 3}, contents(out)); diff != "" {
		t.Error(diff)
	}
	in.Set("a", 99)
	g.Turn()
	in.Delete("a")
	g.Turn()
	if diff := gocmp.Diff(map[string]int{"b": 3}, contents(out)); diff != "" {
		t.Error(diff)
	}
}

func TestKeyMovesBetweenRows(t *testing.T) {
	g := New(nil)
	in := NewInput[string](g, "in", same[string])
	out := FlatMap(g, "swap", in.Collection, same[string], func(_ *Ctx, k, v string) []Entry[string, string] {
		return []Entry[string, string]{{v, k}}
	})
	in.Set("a", "x")
	in.Set("b", "y")
	g.Turn()
	out.Record()
	in.Set("a", "y")
	in.Set("b", "x")
	g.Turn()
	if diff := gocmp.Diff(map[string]string{"x": "b", "y": "a"}, contents(out)); diff != "" {
		t.Error(diff)
	}
	if n := len(out.Changes()); n != 2 {
		t.Errorf("%d changes, want 2: one for each key", n)
	}
}

// TestGroupTellsEqualMembersApart replaces a member by another that the collection's
// equality takes for the same.
func TestGroupTellsEqualMembersApart(t *testing.T) {
	type member struct {
		key   string
		value int
	}
	g := New(nil)
	in := NewInput[string](g, "in", func(a, b member) bool { return a.value == b.value })
	group := Index(g, "group", in.Collection, func(string, member) []string { return []string{"g"} },
		func(a, b member) int { return strings.Compare(a.key, b.key) })
	in.Set("a", member{"a", 1})
	g.Turn()
	in.Delete("a")
	in.Set("b", member{"b", 1})
	g.Turn()
	if got, _ := group.Get("g"); len(got) != 1 || got[0].key != "b" {
		t.Errorf("group = %v, want b", got)
	}
}

func mustPanic(t *testing.T, want string, fn func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if p := fmt.Sprint(recover()); !strings.Contains(p, want) {
			t.Errorf("panic = %s, want %q", p, want)
		}
	}()
	fn()
}

func TestProgrammingErrorsPanic(t *testing.T) {
	one := func(_ *Ctx, _ string, v string) []Entry[string, string] { return []Entry[string, string]{{v, v}} }
	t.Run("one key from two inputs", func(t *testing.T) {
		g := New(nil)
		in := NewInput[string](g, "in", same[string])
		FlatMap(g, "clash", in.Collection, same[string], one)
		in.Set("a", "x")
		g.Turn()
		in.Set("b", "x")
		mustPanic(t, "node clash: key x comes from two inputs", func() { g.Turn() })
	})
	t.Run("one key twice from one input", func(t *testing.T) {
		g := New(nil)
		in := NewInput[string](g, "in", same[string])
		FlatMap(g, "clash", in.Collection, same[string], func(ctx *Ctx, k, v string) []Entry[string, string] {
			return slices.Concat(one(ctx, k, v), one(ctx, k, v))
		})
		in.Set("a", "x")
		mustPanic(t, "comes from two inputs", func() { g.Turn() })
	})
	t.Run("members of a group compare equal", func(t *testing.T) {
		g := New(nil)
		in := NewInput[string](g, "in", same[string])
		Index(g, "idx", in.Collection, func(string, string) []string { return []string{""} }, strings.Compare)
		in.Set("a", "x")
		g.Turn()
		in.Set("b", "x")
		mustPanic(t, "two members of group", func() { g.Turn() })
	})
	t.Run("a node reads what runs later", func(t *testing.T) {
		var late *Collection[string, string]
		var got []Panic
		g := New(func(p Panic) { got = append(got, p) })
		in := NewInput[string](g, "in", same[string])
		FlatMap(g, "early", in.Collection, same[string], func(ctx *Ctx, _, _ string) []Entry[string, string] {
			Get(ctx, late, "k")
			return nil
		})
		late = FlatMap(g, "late", in.Collection, same[string], one)
		in.Set("a", "x")
		g.Turn()
		if len(got) != 1 || !strings.Contains(fmt.Sprint(got[0].Value), "runs after it") {
			t.Errorf("panics = %v", got)
		}
	})
}

// TestForgets checks that deleting everything leaves no cells, rows or readers behind.
func TestForgets(t *testing.T) {
	m := newToy()
	for _, k := range []string{"a", "b", "c"} {
		m.services.Set(k, toyService{k, 2, "none"})
		m.pods.Set(k, toyPod{"abc", int(k[0])})
		m.clients.Set(k, "z")
	}
	m.graph.Turn()
	for _, k := range []string{"a", "b", "c"} {
		m.services.Delete(k)
		m.pods.Delete(k)
		m.clients.Delete(k)
	}
	m.graph.Turn()
	left := len(m.services.cells) + len(m.pods.cells) + len(m.policies.cells) + len(m.clients.cells) +
		len(m.byGroup.cells) + len(m.linked.cells) + len(m.view.cells) + len(m.shared.cells)
	if left != 0 {
		t.Errorf("%d cells left", left)
	}
}

// BenchmarkOneEndpoint changes one of 10,000 services' ten endpoints a turn.
func BenchmarkOneEndpoint(b *testing.B) {
	type endpoint struct{ service, addr, weight int }
	g := New(nil)
	services := NewInput[int](g, "services", same[int])
	eps := NewInput[[2]int](g, "endpoints", same[endpoint])
	of := Index(g, "of", eps.Collection, func(_ [2]int, e endpoint) []int { return []int{e.service} },
		func(a, b endpoint) int { return a.addr - b.addr })
	out := FlatMap(g, "assign", services.Collection, same[int], func(ctx *Ctx, k, _ int) []Entry[int, int] {
		sum := 0
		for _, e := range Lookup(ctx, of, k) {
			sum += e.weight
		}
		return []Entry[int, int]{{k, sum}}
	})
	for s := range 10_000 {
		services.Set(s, s)
		for e := range 10 {
			eps.Set([2]int{s, e}, endpoint{s, e, 1})
		}
	}
	g.Turn()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s := i % 10_000
		eps.Set([2]int{s, 3}, endpoint{s, 3, i + 2})
		if ran := g.Turn(); ran != 1 {
			b.Fatalf("%d transforms ran", ran)
		}
	}
	if out.Len() != 10_000 {
		b.Fatal(out.Len())
	}
}

// BenchmarkRebuild is the same work from nothing.
func BenchmarkRebuild(b *testing.B) {
	for b.Loop() {
		m := newToy()
		for s := range 1000 {
			m.services.Set(fmt.Sprint(s), toyService{fmt.Sprint(s), 1, "p"})
		}
		m.clients.Set("c", "x")
		m.graph.Turn()
	}
}
