package plan

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/internal/capture"
	"github.com/sluicemesh/sluice/internal/golden"

	"github.com/sluicemesh/sluice/initcontainer/rule"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

// randomSettings combines options at random, each in use about every third time. Ranges
// overlap, lists repeat themselves, and some options contradict others.
func randomSettings(rng *rand.Rand) capture.Config {
	c := capture.Default()
	often := func(set func()) {
		if rng.IntN(3) == 0 {
			set()
		}
	}
	number := func() uint16 { return pick(rng, uint16(22), 53, 80, 8080, 15001, 15002, 15006, 15008, 15020, 15053) }
	prefix := func() netip.Prefix {
		return netip.MustParsePrefix(pick(rng, "10.0.0.0/8", "10.96.0.0/12", "10.96.0.10/32", "8.8.8.8/24", "0.0.0.0/0", "127.0.0.5/32",
			"fd00:10::/32", "fd00:10:96::/48", "fd00:10:96::a/128", "2001:db8::8/64", "::/0", "::1/128"))
	}
	link := func() string { return pick(rng, "net1", "net2", "eth0", "docker0") }
	id := func() uint32 { return pick(rng, uint32(0), 7, 888, 1000, 1337) }
	c.Mode = pick(rng, capture.Redirect, capture.Redirect, capture.TProxy)
	often(func() { c.OutboundRanges = capture.Ranges{Prefixes: list(rng, prefix)} })
	often(func() { c.OutboundExcludeRanges = list(rng, prefix) })
	often(func() { c.InboundPorts = capture.Ports{List: list(rng, number)} })
	often(func() { c.InboundExcludePorts = list(rng, number) })
	often(func() { c.OutboundPorts = list(rng, number) })
	often(func() { c.OutboundExcludePorts = list(rng, number) })
	often(func() { c.ExcludeInterfaces = list(rng, link) })
	often(func() { c.VirtualInterfaces = list(rng, link) })
	often(func() { c.ProxyUIDs = append(list(rng, id), 1337) })
	often(func() { c.ProxyGIDs = append(list(rng, id), 1337) })
	often(func() { c.OwnerGroups = capture.Groups{List: list(rng, id)} })
	often(func() { c.OwnerGroupsExcluded = list(rng, id) })
	often(func() { c.DropInvalid = true })
	often(func() { c.RedirectDNS = true })
	often(func() { c.CaptureAllDNS = true })
	c.DNSServers = list(rng, func() netip.Addr {
		return netip.MustParseAddr(pick(rng, "10.96.0.10", "127.0.0.53", "fd00:10:96::a", "fe80::1%eth0"))
	})
	often(func() { c.TunnelPort = number() })
	often(func() { c.TProxyMark, c.TProxyTable = 16, 300 })
	often(func() { c.Loopback = netip.MustParsePrefix(pick(rng, "127.0.0.0/8", "127.0.0.4/30")) })
	return c
}

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

func list[T any](rng *rand.Rand, one func() T) []T {
	out := make([]T, rng.IntN(4))
	for i := range out {
		out[i] = one()
	}
	return out
}

// some calls fn for the plans of n random settings and of all goldens.
func some(t *testing.T, n int, fn func(c capture.Config, f rule.Family, p Plan)) {
	t.Helper()
	both := func(c capture.Config) {
		for _, f := range []rule.Family{rule.IPv4, rule.IPv6} {
			fn(c, f, Build(c, f))
		}
	}
	for c := range inputs(t) {
		both(c)
	}
	rng := rand.New(rand.NewPCG(7, 15001))
	for range n {
		both(randomSettings(rng))
	}
}

// TestPlansHangTogether: chains that rules jump to exist, each private chain is filled and
// jumped to from a built-in one, each rule is there once and explained, and a restore's text
// reads back as the plan.
func TestPlansHangTogether(t *testing.T) {
	some(t, 2000, func(c capture.Config, f rule.Family, p Plan) {
		complain := func(format string, args ...any) {
			t.Helper()
			t.Errorf("%s %q:\n%s"+format, append([]any{f, c.Args(), p.Text(f)}, args...)...)
		}
		for table, set := range p.Rules {
			reached := byWay(set)
			if len(reached) != len(set.Rules) {
				complain("only %d of %d rules of table %s are reached", len(reached), len(set.Rules), table)
			}
			for i, r := range set.Rules {
				if r.Target.Action == rule.Jumps && (!slices.Contains(set.Chains, r.Target.Chain) || len(set.In(r.Target.Chain)) == 0) {
					complain("%s: no chain for %s", table, r)
				}
				if slices.ContainsFunc(set.Rules[:i], r.Equal) {
					complain("%s: twice %s", table, r)
				}
				if r.Why == "" {
					complain("%s: no reason for %s", table, r)
				}
			}
		}
		if got := len(Explain(p, c)); got != p.Rules.Len() {
			complain("%d rules and %d explanations", p.Rules.Len(), got)
		}
		read, err := rule.ParseSave(strings.ReplaceAll(p.Text(f), "# ", "#"))
		if err != nil || verify.Compare(p.Rules, read) != nil {
			complain("read back: %v, %v", err, verify.Compare(p.Rules, read))
		}
	})
}

// TestPlansAreProven: the plan of any settings does what they want.
func TestPlansAreProven(t *testing.T) {
	some(t, 300, func(c capture.Config, f rule.Family, p Plan) {
		if err := verify.Prove(c, f, rule.ListingOf(rule.IPTablesNft, p.Rules)); err != nil {
			t.Errorf("%s %q:\n%s%v", f, c.Args(), p.Text(f), err)
		}
	})
}

// TestEveryRuleMatters: without any rule some packet goes elsewhere. The exceptions are
// listed: rules of settings that leave nothing for them to do.
func TestEveryRuleMatters(t *testing.T) {
	var idle strings.Builder
	some(t, 0, func(c capture.Config, f rule.Family, p Plan) {
		for _, table := range rule.Tables() {
			set := p.Rules[table]
			for i, r := range set.Rules {
				less := maps.Clone(p.Rules)
				less[table] = rule.Set{Chains: set.Chains, Rules: slices.Delete(slices.Clone(set.Rules), i, i+1)}
				if verify.Prove(c, f, rule.ListingOf(rule.IPTablesNft, less)) == nil {
					fmt.Fprintf(&idle, "%s %q\n  %s: %s\n", f, c.Args(), table, r)
				}
			}
		}
	})
	golden.Compare(t, filepath.Join("testdata", "idle.text"), []byte(idle.String()))
}

// TestFamiliesAreAlike: what differs between the families is addresses, nothing else.
func TestFamiliesAreAlike(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 15006))
	twin := func(p netip.Prefix) netip.Prefix {
		b := p.Addr().As4()
		if p.Addr().IsLoopback() {
			return netip.MustParsePrefix("::1/128")
		}
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 12: b[0], 13: b[1], 14: b[2], 15: b[3]}), twinBits(p.Bits()))
	}
	for range 1000 {
		c := randomSettings(rng)
		c.Loopback = netip.MustParsePrefix("127.0.0.1/32")
		names := map[string]string{"127.0.0.1/32": "::1/128", "127.0.0.6/32": "::6/128"}
		for _, l := range []*[]netip.Prefix{&c.OutboundRanges.Prefixes, &c.OutboundExcludeRanges} {
			var both []netip.Prefix
			for _, p := range *l {
				if p.Addr().Is6() || p.Addr().IsLoopback() {
					continue
				}
				p = p.Masked()
				both = append(both, p, twin(p))
				names[p.String()] = twin(p).String()
			}
			*l = both
		}
		var servers []netip.Addr
		for _, a := range c.DNSServers {
			if a.Is4() && !a.IsLoopback() {
				p := netip.PrefixFrom(a, 32)
				servers = append(servers, a, twin(p).Addr())
				names[p.String()] = twin(p).String()
			}
		}
		c.DNSServers = servers
		got, want := Build(c, rule.IPv6), Build(c, rule.IPv4)
		if diff := cmp.Diff(translated(want.Rules, names), lines(got.Rules)); diff != "" {
			t.Fatalf("%q: IPv4 in the addresses of IPv6, and IPv6 (-IPv4 +IPv6):\n%s", c.Args(), diff)
		}
		if got.RouteMarked != want.RouteMarked || got.Mark != want.Mark || got.Table != want.Table {
			t.Fatalf("%q: routing differs", c.Args())
		}
	}
}

// twinBits is the length of a range that is as large among those of IPv6.
func twinBits(bits int) int {
	if bits == 0 {
		return 0
	}
	return 96 + bits
}

// lines is the rules of all tables as text.
func lines(s rule.Sets) []string {
	var out []string
	for _, t := range rule.Tables() {
		for _, r := range s[t].Rules {
			out = append(out, string(t)+": "+r.String())
		}
	}
	return out
}

// translated is lines with other names for addresses.
func translated(s rule.Sets, names map[string]string) []string {
	out := lines(s)
	for i, line := range out {
		words := strings.Fields(line)
		for j, w := range words {
			if name, ok := names[w]; ok {
				words[j] = name
			}
			if w == "0.0.0.0" {
				words[j] = "::"
			}
		}
		out[i] = strings.Join(words, " ")
	}
	return out
}
