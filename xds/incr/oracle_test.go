package incr

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// toy is a small mesh: services with a selector, pods with labels, policies and clients.
// It uses every construct and every way in which a value reaches another.
type toy struct {
	graph    *Graph
	services *Input[string, toyService]
	pods     *Input[string, toyPod]
	policies *Input[string, int]
	clients  *Input[string, string]
	byGroup  *Collection[string, []toyPod]
	linked   *Collection[string, string]
	view     *Collection[string, string]
	shared   *Collection[string, string]
}

type toyService struct {
	group  string
	ports  int
	policy string
}

type toyPod struct {
	groups string // a letter per group
	addr   int
}

func same[T comparable](a, b T) bool { return a == b }

func newToy() *toy {
	g := New(func(p Panic) { panic(p.Value) })
	t := &toy{
		graph:    g,
		services: NewInput[string](g, "services", same[toyService]),
		pods:     NewInput[string](g, "pods", same[toyPod]),
		policies: NewInput[string](g, "policies", same[int]),
		clients:  NewInput[string](g, "clients", same[string]),
	}
	t.byGroup = Index(g, "pods by group", t.pods.Collection,
		func(_ string, p toyPod) []string { return strings.Split(p.groups, "") },
		func(a, b toyPod) int { return cmp.Compare(a.addr, b.addr) })
	t.linked = FlatMap(g, "link", t.services.Collection, same[string], t.link)
	pairs := Product(g, "pairs", t.clients.Collection, t.linked)
	t.view = FlatMap(g, "view", pairs, same[string], func(_ *Ctx, k Pair[string, string], v Both[string, string]) []Entry[string, string] {
		if strings.HasPrefix(k.B, v.A) {
			return nil
		}
		return []Entry[string, string]{{k.A + "/" + k.B, v.B}}
	})
	wanted := Index(g, "wanted", FlatMap(g, "names", t.view, same[[2]string], func(_ *Ctx, k, v string) []Entry[string, [2]string] {
		return []Entry[string, [2]string]{{k, [2]string{v, k}}}
	}), func(_ string, v [2]string) []string { return v[:1] }, func(a, b [2]string) int { return strings.Compare(a[1], b[1]) })
	t.shared = FlatMap(g, "build", wanted, same[string], func(_ *Ctx, k string, vs [][2]string) []Entry[string, string] {
		return []Entry[string, string]{{k, fmt.Sprint(vs)}}
	})
	return t
}

func (t *toy) link(ctx *Ctx, name string, s toyService) []Entry[string, string] {
	policy, _ := Get(ctx, t.policies.Collection, s.policy)
	if policy == 3 {
		return nil
	}
	if policy == 4 {
		s.policy = "a" // a second read that depends on the first
		policy, _ = Get(ctx, t.policies.Collection, s.policy)
	}
	var addrs []int
	for _, p := range Lookup(ctx, t.byGroup, s.group) {
		addrs = append(addrs, p.addr)
	}
	var out []Entry[string, string]
	for p := range s.ports {
		out = append(out, Entry[string, string]{fmt.Sprintf("%s:%d", name, p), fmt.Sprint(policy, addrs)})
	}
	return out
}

// edit is one random change; it is applied to as many toys as are given.
func toyEdit(r *rand.Rand, toys ...*toy) {
	letter := func(n int) string { return string(rune('a' + r.IntN(n))) }
	what, del, key := r.IntN(8), r.IntN(4) == 0, letter(6)
	groups := letter(3)
	if more := letter(4); more != groups {
		groups += more
	}
	s := toyService{letter(4), r.IntN(3), letter(4)}
	n, client := r.IntN(6), letter(7)
	for _, t := range toys {
		switch {
		case what < 2:
			put(t.services, del, key, s)
		case what < 5:
			put(t.pods, del, key, toyPod{groups, int(key[0])})
		case what < 7:
			put(t.policies, del, key, n)
		default:
			put(t.clients, del, key, client)
		}
	}
}

func put[V any](in *Input[string, V], del bool, k string, v V) {
	if del {
		in.Delete(k)
	} else {
		in.Set(k, v)
	}
}

// rebuilt is a new toy with the same inputs.
func (t *toy) rebuilt() *toy {
	n := newToy()
	t.services.Each(n.services.Set)
	t.pods.Each(n.pods.Set)
	t.policies.Each(n.policies.Set)
	t.clients.Each(n.clients.Set)
	n.graph.Turn()
	return n
}

func contents[V any](c *Collection[string, V]) map[string]V {
	out := map[string]V{}
	c.Each(func(k string, v V) { out[k] = v })
	return out
}

// diff compares everything that t derived with a rebuild, the logged changes included.
func (t *toy) diff(replayed map[string]string) string {
	n := t.rebuilt()
	d := gocmp.Diff(contents(n.linked), contents(t.linked))
	d += gocmp.Diff(contents(n.byGroup), contents(t.byGroup), gocmp.AllowUnexported(toyPod{}))
	d += gocmp.Diff(contents(n.view), contents(t.view))
	d += gocmp.Diff(contents(n.shared), contents(t.shared))
	d += gocmp.Diff(contents(n.shared), replayed)
	if len(contents(t.shared)) != t.shared.Len() {
		d += fmt.Sprintf("Len() = %d of %d", t.shared.Len(), len(contents(t.shared)))
	}
	return d
}

// runOracle returns the first difference between an incremental toy and rebuilds over
// random edits; broken may damage the toy.
func runOracle(seeds uint64, broken func(*toy)) (diff string) {
	defer func() {
		if p := recover(); p != nil {
			diff = fmt.Sprint(p)
		}
	}()
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 1))
		t := newToy()
		t.shared.Record()
		replayed := map[string]string{}
		for turn := range 40 {
			for range 1 + r.IntN(4) {
				toyEdit(r, t)
			}
			broken(t)
			t.graph.Turn()
			for _, ch := range t.shared.Changes() {
				if ch.Has {
					replayed[ch.Key] = ch.New
				} else {
					delete(replayed, ch.Key)
				}
			}
			if d := t.diff(replayed); d != "" {
				return fmt.Sprintf("seed %d turn %d: %s", seed, turn, d)
			}
		}
	}
	return ""
}

func TestIncrementalEqualsRebuild(t *testing.T) {
	if diff := runOracle(300, func(*toy) {}); diff != "" {
		t.Fatal(diff)
	}
}

// TestOracleSeesFaults damages the engine under the toy: an oracle that lets one of these
// pass proves nothing.
func TestOracleSeesFaults(t *testing.T) {
	for name, broken := range map[string]func(*toy){
		"reads are not recorded": func(t *toy) {
			for c := range maps.Values(t.policies.cells) {
				c.readers = readerSet{}
			}
		},
		"group reads are not recorded": func(t *toy) {
			for c := range maps.Values(t.byGroup.cells) {
				c.readers = readerSet{}
			}
		},
		"the index hears of nothing": func(t *toy) { t.pods.subs = nil },
		"everything is equal":        func(t *toy) { t.linked.equal = func(a, b string) bool { return len(a) == len(b) } },
		"primary input not watched":  func(t *toy) { t.view.subs = nil },
		"log loses a change": func(t *toy) {
			t.shared.log = append(t.shared.log, Change[string, string]{Key: "x", Has: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			if runOracle(300, broken) == "" {
				t.Error("the oracle does not see the fault")
			}
		})
	}
}
