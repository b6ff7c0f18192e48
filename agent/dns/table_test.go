package dns

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sluicemesh/sluice/agent/relay/store"
	"github.com/sluicemesh/sluice/internal/nametable"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inDefault is a pod of namespace default.
func inDefault() Place {
	return Place{Namespace: "default", Domain: "svc.cluster.local", Search: "default.svc.cluster.local"}
}

// service is the entry of a Service.
func service(name, namespace string, ips ...string) nametable.Entry {
	return nametable.Entry{
		Host: name + "." + namespace + ".svc.cluster.local", Addresses: ips,
		Registry: nametable.Kubernetes, ShortName: name, Namespace: namespace,
	}
}

func external(host string, ips ...string) nametable.Entry {
	return nametable.Entry{Host: host, Addresses: ips, Registry: nametable.External}
}

// resource is a resource of its own for each entry.
func resources(entries ...nametable.Entry) []*store.Resource {
	var out []*store.Resource
	for _, e := range entries {
		out = append(out, &store.Resource{Name: e.Host, Version: "1", Body: nametable.Append(nil, e)})
	}
	return out
}

func filled(t testing.TB, p Place, entries ...nametable.Entry) *Table {
	t.Helper()
	table := NewTable(p)
	if err := table.Apply(resources(entries...), nil); err != nil {
		t.Fatal(err)
	}
	return table
}

// text is an answer in words: "a.b -> c.d 10.0.0.1 fd00::1".
func (a Answer) text() string {
	h := host{ips: a.V4 + a.V6, four: uint32(len(a.V4))}
	words := h.texts()
	if a.Canonical != "" {
		words = slices.Insert(words, 0, "->", a.Canonical)
	}
	return strings.Join(words, " ")
}

func TestLookup(t *testing.T) {
	table := filled(t, inDefault(),
		service("web", "default", "10.96.0.1"),
		service("web", "shop", "10.96.0.2", "fd00::2"),
		service("web-0.db", "shop", "10.0.0.5"),
		service("web-1.db", "default", "10.0.0.6"),
		nametable.Entry{Host: "web.shop.svc.clusterset.local", Addresses: []string{"10.96.0.9"}, Registry: nametable.Kubernetes, ShortName: "web", Namespace: "shop"},
		external("api.example.com", "240.0.0.1"),
		external("legacy", "240.0.0.2"),
		external("legacy.default.svc.cluster.local", "240.0.0.3"),
		external("*.example.com", "240.0.0.4"),
		external("*.deep.example.com", "240.0.0.5"),
		external("*.local", "240.0.0.6"),
		external("six.example.org", "fd00::7"),
		external("broken.example.org", "10.0.0.0/8", "host"),
	)
	for _, c := range []struct{ name, want string }{
		{"web.default.svc.cluster.local", "10.96.0.1"},
		{"web.default.svc", "10.96.0.1"},
		{"web.default", "10.96.0.1"},
		{"web", "10.96.0.1"},
		{"web.shop.svc.cluster.local", "10.96.0.2 fd00::2"},
		{"web.shop", "10.96.0.2 fd00::2"},
		{"web.shop.default.svc.cluster.local", "-> web.shop 10.96.0.2 fd00::2"},
		{"web.shop.svc.default.svc.cluster.local", "-> web.shop.svc 10.96.0.2 fd00::2"},
		{"web-0.db.shop.svc.cluster.local", "10.0.0.5"},
		{"web-0.db.shop", "10.0.0.5"},
		{"web-0.db", "none"},
		{"web-1.db", "10.0.0.6"},
		{"web.shop.svc.clusterset.local", "10.96.0.9"},
		{"api.example.com", "240.0.0.1"},
		{"api.example.com.default.svc.cluster.local", "-> api.example.com 240.0.0.1"},
		{"legacy", "240.0.0.2"},
		{"legacy.default.svc.cluster.local", "240.0.0.3"},
		{"x.example.com", "240.0.0.4"},
		{"x.y.example.com", "240.0.0.4"},
		{"example.com", "none"},
		{"x.deep.example.com", "240.0.0.5"},
		{"deep.example.com", "240.0.0.4"},
		{"x.deep.example.com.default.svc.cluster.local", "-> x.deep.example.com 240.0.0.5"},
		{"six.example.org", "fd00::7"},
		{"broken.example.org", "none"},
		{"nothing.example.org", "none"},
		{"web.default.svc.cluster.local.default.svc.cluster.local", "-> web.default.svc.cluster.local 10.96.0.1"},
		{"nothing.example.org.default.svc.cluster.local.default.svc.cluster.local", "-> nothing.example.org.default.svc.cluster.local 240.0.0.6"},
		{"default.svc.cluster.local", "240.0.0.6"},
		{"cluster.local", "240.0.0.6"},
		{"local", "none"},
		{"", "none"},
		{"..", "none"},
		{"*.example.com", "240.0.0.4"},
	} {
		a, found := table.Lookup(c.name)
		got := a.text()
		if !found {
			got = "none"
		}
		if got != c.want {
			t.Errorf("Lookup(%q) = %s, want %s", c.name, got, c.want)
		}
	}
}

func TestApplyIsWhole(t *testing.T) {
	table := NewTable(inDefault())
	if table.Ready() {
		t.Error("a new table is ready")
	}
	good := resources(service("web", "default", "10.96.0.1"))
	bad := append(resources(service("api", "default", "10.96.0.2")), &store.Resource{Name: "bad", Body: []byte{0x0a}})
	if err := table.Apply(bad, nil); err == nil || table.Ready() || len(table.Entries()) != 0 {
		t.Errorf("Apply = %v, table %v", err, table.Entries())
	}
	if err := table.Apply(good, nil); err != nil || !table.Ready() {
		t.Fatal(err)
	}
	if err := table.Apply(bad, []string{"web.default.svc.cluster.local"}); err == nil || len(table.Entries()) != 1 {
		t.Errorf("Apply = %v, table %v", err, table.Entries())
	}
	if err := table.Apply(nil, []string{"web.default.svc.cluster.local", "unknown"}); err != nil || len(table.Entries()) != 0 || !table.Ready() {
		t.Errorf("Apply = %v, table %v", err, table.Entries())
	}
}

// TestWholeTableInOneResource is the form in which Istio's control plane sends it.
func TestWholeTableInOneResource(t *testing.T) {
	table := NewTable(inDefault())
	var body []byte
	entries := []nametable.Entry{service("web", "default", "10.96.0.1"), external("Api.Example.COM.", "240.0.0.1")}
	for _, e := range entries {
		body = nametable.Append(body, e)
	}
	if err := table.Apply([]*store.Resource{{Body: body}}, nil); err != nil {
		t.Fatal(err)
	}
	got := table.Entries()
	slices.SortFunc(got, func(a, b nametable.Entry) int { return cmp.Compare(a.Host, b.Host) })
	want := []nametable.Entry{external("api.example.com", "240.0.0.1"), entries[0]}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := table.Apply([]*store.Resource{{Body: nametable.Append(nil, entries[0])}}, nil); err != nil {
		t.Fatal(err)
	}
	if got := table.Entries(); len(got) != 1 || got[0].Host != entries[0].Host {
		t.Errorf("after the next table: %v", got)
	}
}

// expanded is the table of all names that each host answers to, written out: what Lookup
// works out must be the same.
func expanded(p Place, entries []nametable.Entry) map[string]string {
	full, short, alias := map[string]string{}, map[string]string{}, map[string]string{}
	for _, e := range entries {
		full[e.Host] = strings.Join(e.Addresses, " ")
	}
	for _, e := range entries {
		ips := strings.Join(e.Addresses, " ")
		if e.Registry != nametable.Kubernetes || !strings.HasSuffix(e.Host, "."+p.Domain) {
			continue
		}
		short[e.ShortName+"."+e.Namespace+".svc"] = ips
		short[e.ShortName+"."+e.Namespace] = ips
		if e.Namespace == p.Namespace {
			short[e.ShortName] = ips
		}
	}
	out := map[string]string{}
	for _, m := range []map[string]string{short, full} {
		for name, ips := range m {
			out[name] = ips
			alias[name+"."+p.Search] = "-> " + name + " " + ips
		}
	}
	for name, text := range alias {
		if _, taken := out[name]; !taken {
			out[name] = text
		}
	}
	return out
}

// TestLookupIsTheExpandedTable compares lookups with the expanded table, over random tables
// and edits of them. Two forms of one name, of which one host is the short form and another the
// full name, are told apart by the same rule: the full name goes first.
func TestLookupIsTheExpandedTable(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		table, have := NewTable(inDefault()), map[string]nametable.Entry{}
		for range 20 {
			letter := func(n int) string { return string(rune('a' + r.IntN(n))) }
			ip := netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(9)), 1}).String()
			e := service(letter(3), []string{"default", "x", "y"}[r.IntN(3)], ip)
			if r.IntN(3) == 0 {
				e = external(letter(3)+"."+[]string{"com", "x.com", "z"}[r.IntN(3)], ip)
			}
			if r.IntN(4) == 0 {
				delete(have, e.Host)
				if err := table.Apply(nil, []string{e.Host}); err != nil {
					t.Fatal(err)
				}
				continue
			}
			have[e.Host] = e
			if err := table.Apply(resources(e), nil); err != nil {
				t.Fatal(err)
			}
		}
		var list []nametable.Entry
		for _, e := range have {
			list = append(list, e)
		}
		names := expanded(inDefault(), list)
		for name, want := range names {
			a, found := table.Lookup(name)
			if got := a.text(); !found || got != want {
				t.Fatalf("seed %d: Lookup(%q) = %q, want %q", seed, name, got, want)
			}
		}
		for range 50 {
			name := string(rune('a'+r.IntN(4))) + "." + []string{"com", "x", "default.svc", "svc.cluster.local", "y.svc.cluster.local"}[r.IntN(5)]
			if _, known := names[name]; known {
				continue
			}
			if a, found := table.Lookup(name); found {
				t.Fatalf("seed %d: Lookup(%q) = %q, want nothing", seed, name, a.text())
			}
		}
	}
}

func FuzzApply(f *testing.F) {
	f.Add(nametable.Append(nametable.Append(nil, service("web", "default", "10.96.0.1")), external("*.x", "::1")), "web")
	f.Add([]byte{0x0a, 0x02, 0x0a, 0x00}, "a..default.svc.cluster.local")
	f.Fuzz(func(t *testing.T, body []byte, name string) {
		table := NewTable(inDefault())
		if table.Apply([]*store.Resource{{Name: "r", Body: body}}, nil) != nil {
			return
		}
		a, _ := table.Lookup(fold(name))
		if len(a.V4)%4 != 0 || len(a.V6)%16 != 0 {
			t.Errorf("Lookup(%q) = %q", name, a)
		}
		if table.Entries(); table.Apply(nil, []string{"r"}) != nil || len(table.Entries()) != 0 {
			t.Errorf("%v left", table.Entries())
		}
	})
}

// many are n Services and a ServiceEntry for each ten.
func many(n int) []nametable.Entry {
	var out []nametable.Entry
	for i := range n {
		ip := netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)}).String()
		if i%10 == 0 {
			out = append(out, external(fmt.Sprintf("api-%d.example.com", i), ip))
			continue
		}
		out = append(out, service(fmt.Sprintf("service-%d", i), fmt.Sprintf("namespace-%d", i%50), ip))
	}
	return out
}

// TestTableIsSmall bounds what ten thousand names cost, all that they keep alive included.
func TestTableIsSmall(t *testing.T) {
	for _, c := range []struct{ names, limit int }{{1_000, 300 << 10}, {10_000, 3 << 20}} {
		before := heap()
		table := filled(t, inDefault(), many(c.names)...)
		used := heap() - before
		t.Logf("%d names: %d KiB", c.names, used>>10)
		if used > c.limit || used < 50*c.names {
			t.Errorf("%d names use %d bytes, limit %d", c.names, used, c.limit)
		}
		runtime.KeepAlive(table)
	}
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func BenchmarkLookup(b *testing.B) {
	table := filled(b, inDefault(), many(10_000)...)
	for _, c := range []struct{ what, name string }{
		{"full", "service-4321.namespace-21.svc.cluster.local"},
		{"short", "service-4321.namespace-21"},
		{"searched", "api-10.example.com.default.svc.cluster.local"},
		{"unknown", "www.example.org.default.svc.cluster.local"},
	} {
		b.Run(c.what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				table.Lookup(c.name)
			}
		})
	}
}

// BenchmarkApplyOne changes one of 10,000 hosts.
func BenchmarkApplyOne(b *testing.B) {
	table := filled(b, inDefault(), many(10_000)...)
	one := resources(service("service-4321", "namespace-21", "10.0.0.1"))
	b.ReportAllocs()
	for b.Loop() {
		if err := table.Apply(one, nil); err != nil {
			b.Fatal(err)
		}
	}
}
