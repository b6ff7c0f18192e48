package initcontainer_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/initcontainer/netlab"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

const tproxyPod = "-m TPROXY -i * -b * -d 15090,15021,15020"

// TestTProxyKeepsTheAddress lets a stand-in for the proxy pass connections on, from the
// client's address, and asks the application whom it sees.
func TestTProxyKeepsTheAddress(t *testing.T) {
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
	for _, flavour := range flavours(t) {
		for _, settings := range []string{tproxyPod, "-m TPROXY -b 8080", tproxyPod + " -o 40000 INVALID_DROP=true"} {
			t.Run(flavour+"/"+settings, func(t *testing.T) {
				lab := netlab.New(t, true)
				lab.Serve(t, []uint16{8080}, nil)
				lab.RelayInbound(t, 15006, 1337)
				mustRun(t, lab, "--force-iptables-binary="+flavour+" "+settings)
				place := places{lab.Pod, lab.Peer}
				for _, c := range clients {
					for to, seen := range map[string]string{netlab.Pod4: c.seen4, "[" + netlab.Pod6 + "]": c.seen6} {
						to := netip.MustParseAddrPort(to + ":8080")
						got := netlab.Dial(place[c.from], c.owner, netip.Addr{}, to)
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
