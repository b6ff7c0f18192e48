package nft_test

import (
	"context"
	"net/netip"
	"os"
	"strconv"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/apply"
	"github.com/sluicemesh/sluice/initcontainer/apply/nft"
	"github.com/sluicemesh/sluice/initcontainer/apply/xtables"
	"github.com/sluicemesh/sluice/initcontainer/host"
	"github.com/sluicemesh/sluice/initcontainer/netlab"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

var (
	app   = netlab.Owner{UID: 1000, GID: 1000}
	proxy = netlab.Owner{UID: 1337, GID: 1337}
)

// swaps is how many the soak makes: a few dozen, or as many as the environment asks for.
func swaps(t *testing.T) int {
	t.Helper()
	text := os.Getenv("SLUICE_SOAK_SWAPS")
	if text == "" {
		return 30
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// variants are settings that agree about the calls of the soak.
func variants() []both {
	redirect := capture.Default()
	redirect.InboundExcludePorts = []uint16{15090, 15021, 15020}
	lists := capture.Default()
	lists.InboundPorts = capture.Ports{List: []uint16{9, 8080}}
	lists.OutboundRanges = capture.Ranges{}
	lists.OutboundPorts = []uint16{7, 80}
	lists.ProxyUIDs, lists.ProxyGIDs = []uint32{1336, 1337}, []uint32{5}
	divert := capture.Default()
	divert.Mode = capture.TProxy
	marks := lists
	marks.Mode, marks.DropInvalid = capture.TProxy, true
	var out []both
	for _, c := range []capture.Config{redirect, divert, lists, marks} {
		out = append(out, both{rule.IPv4: plan.Build(c, rule.IPv4).Rules, rule.IPv6: plan.Build(c, rule.IPv6).Rules})
	}
	return out
}

// calls are whom whose connections must reach with any of the variants.
func calls(lab *netlab.Lab) []netlab.Wanted {
	var out []netlab.Wanted
	for _, c := range []struct {
		at       netns.NsHandle
		owner    netlab.Owner
		to, want string
	}{
		{lab.Pod, app, netlab.Remote4 + ":80", "15001"},
		{lab.Pod, app, "[" + netlab.Remote6 + "]:80", "15001"},
		{lab.Pod, app, "127.0.0.1:8080", "8080"},
		{lab.Pod, proxy, netlab.Remote4 + ":80", "remote"},
		{lab.Pod, proxy, netlab.Pod4 + ":8080", "15006"},
		{lab.Pod, proxy, "[" + netlab.Pod6 + "]:8080", "15006"},
		{lab.Peer, app, netlab.Pod4 + ":8080", "15006"},
		{lab.Peer, app, "[" + netlab.Pod6 + "]:8080", "15006"},
		{lab.Peer, app, netlab.Pod4 + ":15008", "15008"},
	} {
		out = append(out, netlab.Wanted{
			Call: netlab.Call{At: c.at, Owner: c.owner, To: netip.MustParseAddrPort(c.to)}, Listener: c.want,
		})
	}
	return out
}

// kernel is a backend.
type kernel interface {
	Swap(ctx context.Context, from, to map[rule.Family]rule.Sets) error
}

// kernels are the backends; those of iptables start processes and make fewer swaps.
func kernels(t *testing.T) map[string]kernel {
	t.Helper()
	out := map[string]kernel{"nftables": &nft.Kernel{}}
	for _, flavour := range []host.Flavour{host.Nft, host.Legacy} {
		k, err := xtables.Open(flavour, xtables.Options{Families: []rule.Family{rule.IPv4, rule.IPv6}, Nft: &nft.Kernel{}})
		if err != nil {
			t.Fatal(err)
		}
		out["iptables-"+string(flavour)] = k
	}
	return out
}

// TestSwapsUnderLoad replaces rules again and again, within a mode and between modes, while
// connections are made and used: none is reset, none is lost, none goes past the proxy.
func TestSwapsUnderLoad(t *testing.T) {
	for name, k := range kernels(t) {
		t.Run(name, func(t *testing.T) {
			lab := netlab.New(t, true)
			lab.Serve(t, []uint16{8080, 15008}, []uint16{80})
			lab.ServeProxy(t, 15001, 15006)
			sets := variants()
			swap := func(from, to both) error {
				return netlab.In(lab.Pod, func() error { return k.Swap(t.Context(), from, to) })
			}
			if err := netlab.In(lab.Pod, routeMarked); err != nil {
				t.Fatal(err)
			}
			if err := swap(nil, sets[0]); err != nil {
				t.Fatal(err)
			}
			tally, err := lab.Run(netlab.Load{Fresh: calls(lab), Held: calls(lab)}, func(func() int) error {
				for i := range swaps(t) {
					if err := swap(sets[i%len(sets)], sets[(i+1)%len(sets)]); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Log(tally)
			if !tally.Clean() || tally.Reached == 0 || tally.Echoed == 0 {
				t.Errorf("%s", tally)
			}
		})
	}
}

// routeMarked is what rules of mode TPROXY need beside them.
func routeMarked() error {
	link, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer link.Close()
	for _, f := range []rule.Family{rule.IPv4, rule.IPv6} {
		r := apply.Routing{Family: f, Mark: capture.DefaultTProxyMark, Table: capture.DefaultTProxyTable}
		if err := r.Add(link); err != nil {
			return err
		}
	}
	return nil
}
