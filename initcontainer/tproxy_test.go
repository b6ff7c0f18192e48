package initcontainer_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netns"

	"github.com/sluicemesh/sluice/initcontainer/netlab"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

const tproxyPod = "-m TPROXY -i * -b * -d 15090,15021,15020"

// TestTProxyKeepsTheAddress lets a stand-in for the proxy pass connections on, from the
// client's address, and asks the application whom it sees.
func TestTProxyKeepsTheAddress(t *testing.T) {
	t.Parallel()
	clients := []struct {
		name  string
		from  int
		owner netlab.Owner
		seen4 string
		seen6 string
	}{
		{"peer", fromPeer, app, netlab.Peer4, netlab.Peer6},
		{"peer again", fromPeer, app, netlab.Peer4, netlab.Peer6},
		{"proxy of the pod itself", fromPod, gidOnly, netlab.Pod4, netlab.Pod6},
		{"application of the pod, directly", fromPod, app, netlab.Pod4, netlab.Pod6},
	}
	for _, backend := range backends(t) {
		for _, settings := range []string{tproxyPod, "-m TPROXY -b 8080", tproxyPod + " -o 40000 INVALID_DROP=true"} {
			t.Run(backend.name+"/"+settings, func(t *testing.T) {
				lab := netlab.New(t, true)
				lab.Serve(t, []uint16{8080}, nil)
				lab.RelayInbound(t, 15006, 1337)
				mustRun(t, lab, backend.flag+" "+settings)
				for _, c := range clients {
					for to, seen := range map[string]string{netlab.Pod4: c.seen4, "[" + netlab.Pod6 + "]": c.seen6} {
						to := netip.MustParseAddrPort(to + ":8080")
						got := netlab.Dial([]netns.NsHandle{lab.Pod, lab.Peer}[c.from], c.owner, netip.Addr{}, to)
						if got.Listener != "8080" || got.From != seen {
							t.Errorf("%s to %s: reached %s, which saw %s; want 8080 and %s", c.name, to, got.Listener, got.From, seen)
						}
					}
				}
			})
		}
	}
}

// routing is what the pod has for marked packets, as text.
func routing(t *testing.T, lab *netlab.Lab) string {
	t.Helper()
	var out strings.Builder
	for _, family := range []string{"-4", "-6"} {
		out.WriteString(lab.Output(t, "ip", family, "rule", "list", "fwmark", "1337"))
		out.WriteString(lab.Output(t, "ip", family, "route", "list", "table", "all"))
	}
	var found []string
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "133") {
			found = append(found, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(found, "\n")
}

const wantRouting = `32765: from all fwmark 0x539 lookup 133
local default dev lo table 133 scope host
32765: from all fwmark 0x539 lookup 133
local default dev lo table 133 metric 1024 pref medium`

func TestRoutingComesAndGoesWithTheMode(t *testing.T) {
	t.Parallel()
	for _, flavour := range flavours(t) {
		t.Run(flavour, func(t *testing.T) {
			lab := netlab.New(t, true)
			force := "--force-iptables-binary=" + flavour + " "
			for _, step := range []struct{ line, want string }{
				{"-i * -b *", ""},
				{tproxyPod, wantRouting},
				{tproxyPod, wantRouting},
				{"-m TPROXY", wantRouting},
				{"-i * -b *", ""},
				{tproxyPod + " INVALID_DROP=true", wantRouting},
				{"--cleanup-only", ""},
				{tproxyPod, wantRouting},
				{"-m NONE", ""},
			} {
				mustRun(t, lab, force+step.line)
				if diff := cmp.Diff(step.want, routing(t, lab)); diff != "" {
					t.Errorf("routing after %q (-want +got):\n%s", step.line, diff)
				}
				tables := saved(t, lab, flavour)
				if got, want := strings.Contains(tables, "TPROXY"), step.want != ""; got != want {
					t.Errorf("TPROXY rules after %q: %t, want %t\n%s", step.line, got, want, tables)
				}
			}
		})
	}
}

// TestRoutingIsRepaired: half of the routing, or none, is as bad as a missing rule.
func TestRoutingIsRepaired(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string][]string{
		"rule gone":  {"rule", "del", "fwmark", "1337", "lookup", "133"},
		"route gone": {"route", "flush", "table", "133"},
	} {
		t.Run(name, func(t *testing.T) {
			lab := netlab.New(t, true)
			mustRun(t, lab, tproxyPod)
			lab.Output(t, "ip", append([]string{"-4"}, damage...)...)
			r := mustRun(t, lab, tproxyPod)
			if diff := cmp.Diff(wantRouting, routing(t, lab)); diff != "" {
				t.Errorf("routing (-want +got):\n%s", diff)
			}
			if !strings.Contains(r.log, "rules loaded and verified") || !strings.Contains(r.log, "nothing to change") {
				t.Errorf("want a repair in one family and none in the other:\n%s", r.log)
			}
		})
	}
}

// TestEveryRuleOfTProxyIsMissed: whichever rule is deleted, verification names it.
func TestEveryRuleOfTProxyIsMissed(t *testing.T) {
	t.Parallel()
	for _, flavour := range flavours(t) {
		t.Run(flavour, func(t *testing.T) {
			lab := netlab.New(t, true)
			line := "--force-iptables-binary=" + flavour + " " + tproxyPod + " -c net1 -k eth1 INVALID_DROP=true"
			mustRun(t, lab, line)
			rules := 0
			for _, table := range []string{"mangle", "nat"} {
				for rule := range strings.Lines(lab.Output(t, "iptables-"+flavour, "-t", table, "-S")) {
					words := strings.Fields(strings.ReplaceAll(rule, `"`, ""))
					if words[0] != "-A" {
						continue
					}
					rules++
					lab.Output(t, "iptables-"+flavour, append([]string{"-t", table, "-D"}, words[1:]...)...)
					err := check(t, lab, line)
					var mismatch *verify.Mismatch
					if !errors.As(err, &mismatch) || !strings.Contains(err.Error(), table+": missing rule ") {
						t.Errorf("without %s in %s verify says %v", strings.TrimSpace(rule), table, err)
					}
					mustRun(t, lab, line)
					if err := check(t, lab, line); err != nil {
						t.Errorf("the next run does not repair %s: %v", rule, err)
					}
				}
			}
			if rules != 38 {
				t.Errorf("%d rules were tried, want 38", rules)
			}
		})
	}
}

// TestTProxyTakesForwardedConnections: like REDIRECT it captures what the pod would route on.
func TestTProxyTakesForwardedConnections(t *testing.T) {
	t.Parallel()
	for _, backend := range backends(t) {
		for _, settings := range []string{"-b *", tproxyPod} {
			t.Run(backend.name+"/"+settings, func(t *testing.T) {
				lab := netlab.New(t, true)
				lab.ServeProxy(t, 15006)
				lab.RouteToPod(t, beyond4+"/32", beyond6+"/128")
				mustRun(t, lab, backend.flag+" "+settings)
				for _, to := range []string{beyond4 + ":80", "[" + beyond6 + "]:80"} {
					if got := netlab.Dial(lab.Peer, app, netip.Addr{}, netip.MustParseAddrPort(to)); got.Listener != "15006" || got.Meant != to {
						t.Errorf("peer to %s: reached %+v, want 15006", to, got)
					}
				}
			})
		}
	}
}

// Addresses that the peer reaches through the pod.
const (
	beyond4 = "192.0.2.7"
	beyond6 = "2001:db8::7"
)

// TestEveryRuleOfTProxyMatters: without any of the rules some connection goes elsewhere.
func TestEveryRuleOfTProxyMatters(t *testing.T) {
	t.Parallel()
	const settings = "--force-iptables-binary=nft -m TPROXY -i * -b * -d 22 -c net1 -o 53"
	lab := newPod(t)
	lab.RouteToPod(t, beyond4+"/32", beyond6+"/128")
	connections := []connection{
		{name: "app to remote", owner: app, dst: "REMOTE:80"},
		{name: "app to excluded port", owner: app, dst: "REMOTE:53"},
		{name: "app to guest", owner: app, dst: "GUEST:80"},
		{name: "app to itself", owner: app, dst: "POD:8080"},
		{name: "proxy to remote, by uid", owner: uidOnly, dst: "REMOTE:80"},
		{name: "proxy to remote, by gid", owner: gidOnly, dst: "REMOTE:80"},
		{name: "proxy to itself, by uid", owner: uidOnly, dst: "POD:8080"},
		{name: "proxy to itself, by gid", owner: gidOnly, dst: "POD:8080"},
		{name: "proxy to itself, excluded port", owner: gidOnly, dst: "POD:53"},
		{name: "probe of the application", owner: gidOnly, src: "127.0.0.6", dst: "POD:8080"},
		{name: "validation from the proxy's source", owner: gidOnly, src: "127.0.0.6", dst: "127.0.0.6:15002"},
		{name: "validation, by uid", owner: uidOnly, src: "127.0.0.1", dst: "127.0.0.6:15002"},
		{name: "validation, by gid", owner: gidOnly, src: "127.0.0.1", dst: "127.0.0.6:15002"},
		{name: "guest", from: fromGuest, dst: "LINK:8080"},
		{name: "peer", from: fromPeer, dst: "POD:8080"},
		{name: "peer to excluded port", from: fromPeer, dst: "POD:22"},
		{name: "peer to tunnel", from: fromPeer, dst: "POD:15008"},
		{name: "peer through the pod", from: fromPeer, dst: beyond4 + ":80"},
	}
	// Much gets lost. That a slow answer is taken for none cannot make the test fail.
	const impatience = 300 * time.Millisecond
	var calls []netlab.Call
	for _, c := range connections {
		call := c.call(lab.at, ipv4Names())
		call.Patience = impatience
		calls = append(calls, call)
	}
	calls = append(calls, netlab.Call{
		At: lab.Pod, Owner: gidOnly, Mark: 1337, Patience: impatience, // as the proxy calls its application
		From: netip.MustParseAddrPort(netlab.Peer4 + ":0"), To: netip.MustParseAddrPort(netlab.Pod4 + ":8080"),
	})
	mustRun(t, lab.Lab, settings)
	before := lab.Try(calls...)
	for _, table := range []string{"mangle", "nat"} {
		for rule := range strings.Lines(lab.Output(t, "iptables-nft", "-t", table, "-S")) {
			words := strings.Fields(strings.ReplaceAll(rule, `"`, ""))
			// The mark that this one prevents keeps connections from a listener that is not
			// transparent, as that of the validation container: cmd/sluice-init tests it.
			excused := table == "mangle" && slices.Contains(words, "sluice/validation")
			if words[0] != "-A" || excused {
				continue
			}
			lab.Output(t, "iptables-nft", append([]string{"-t", table, "-D"}, words[1:]...)...)
			if cmp.Equal(before, lab.Try(calls...)) {
				t.Errorf("nothing changes without %s: %s", table, strings.TrimSpace(rule))
			}
			mustRun(t, lab.Lab, settings)
		}
	}
}
