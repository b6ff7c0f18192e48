package initcontainer_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netns"

	"github.com/sluicemesh/sluice/initcontainer/netlab"
)

// Where the two meet is who dials; the ports decide the rest.
const (
	fromPod = iota
	fromPeer
	fromGuest
)

var (
	app     = netlab.Owner{UID: 1000, GID: 1000}
	proxy   = netlab.Owner{UID: 1337, GID: 1337}
	uidOnly = netlab.Owner{UID: 1337, GID: 0}
	gidOnly = netlab.Owner{UID: 0, GID: 1337}
	second  = netlab.Owner{UID: 2000, GID: 1000} // by UID alone
	member  = netlab.Owner{UID: 1000, GID: 888}
)

// connection is one kind of connection and, for each settings column, who must get it.
// In addresses, POD, PEER, REMOTE, ANOTHER, SOURCE and LOCAL stand for those of the family.
type connection struct {
	name  string
	from  int
	owner netlab.Owner
	src   string
	dst   string
	want  string // one word for each column
	only4 bool
	udp   bool
}

type columns struct {
	args  []string // the settings of each column; words with "=" are variables
	conns []connection
}

// observed is what Istio's rules do (seen in the kernel), with one difference: a process
// with only the proxy's group is the proxy, so its calls to the pod itself are captured.
func observed() columns {
	return columns{
		args: []string{
			"-i * -b * -d 15090,15021,15020",
			"-i 127.0.0.5/32,8.8.8.8/32,2001:4860:4860::8888/128 -o 53 -b * -d 15090,15021,15020",
			"-q 80 -b 8080 -d 15090,15021,15020",
			"-m NONE",
			"-m TPROXY -i * -b * -d 15090,15021,15020",
		},
		conns: []connection{
			{name: "app to remote", owner: app, dst: "REMOTE:80", want: "15001 15001 15001 remote 15001"},
			{name: "app to own pod", owner: app, dst: "POD:8080", want: "8080 8080 8080 8080 8080"},
			{name: "app to localhost", owner: app, dst: "LOCAL:8080", want: "8080 8080 8080 8080 8080"},
			{name: "app to other loopback", owner: app, dst: "127.0.0.5:8080", want: "8080 15001 8080 8080 8080", only4: true},
			{name: "app to remote port 53", owner: app, dst: "REMOTE:53", want: "15001 remote remote remote 15001"},
			{name: "proxy to remote", owner: proxy, dst: "REMOTE:80", want: "remote remote remote remote remote"},
			{name: "proxy to own pod", owner: proxy, dst: "POD:8080", want: "15006 15006 15006 8080 15006"},
			{name: "proxy as 127.0.0.6 to own pod", owner: proxy, src: "127.0.0.6", dst: "POD:8080", want: "8080 8080 8080 8080 8080", only4: true},
			{name: "proxy to localhost", owner: proxy, dst: "LOCAL:8080", want: "8080 8080 8080 8080 8080"},
			{name: "proxy to other loopback", owner: proxy, dst: "127.0.0.5:8080", want: "15006 15006 15006 8080 15006", only4: true},
			{name: "proxy to tunnel", owner: proxy, dst: "POD:15008", want: "15008 15008 15008 15008 15008"},
			{name: "uid to remote", owner: uidOnly, dst: "REMOTE:80", want: "remote remote remote remote remote"},
			{name: "uid to own pod", owner: uidOnly, dst: "POD:8080", want: "15006 15006 15006 8080 15006"},
			{name: "gid to remote", owner: gidOnly, dst: "REMOTE:80", want: "remote remote remote remote remote"},
			{name: "gid to own pod", owner: gidOnly, dst: "POD:8080", want: "15006 15006 15006 8080 15006"},
			{name: "peer to app", from: fromPeer, dst: "POD:8080", want: "15006 15006 15006 8080 15006"},
			{name: "peer to port 22", from: fromPeer, dst: "POD:22", want: "15006 15006 22 22 15006"},
			{name: "peer to closed port", from: fromPeer, dst: "POD:9", want: "15006 15006 refused refused 15006"},
			{name: "peer to agent", from: fromPeer, dst: "POD:15020", want: "15020 15020 15020 15020 15020"},
			{name: "peer to statistics", from: fromPeer, dst: "POD:15090", want: "15090 15090 15090 15090 15090"},
			{name: "peer to tunnel", from: fromPeer, dst: "POD:15008", want: "15008 15008 15008 15008 15008"},
			{name: "peer to outbound listener", from: fromPeer, dst: "POD:15001", want: "15006 15006 15001 15001 15006"},
		},
	}
}

// winners is what the remaining options do, each beside others it must win against or
// yield to.
func winners() columns {
	return columns{
		args: []string{
			"-i * -x 8.8.8.8/24,2001:4860:4860::8888/64 -q 32000 -b * -d 8080,22",
			"-i 8.8.8.0/24,2001:4860::/32 -q 32000 -o 80 -b 8080,22",
			"-i * -b * -u 1337,2000",
			"-b *",
			"-i 0.0.0.0/0,::/0 -x 9.9.9.9,2620:fe::9 -p 15011 -z 15016 -e 8080 -b *",
		},
		conns: []connection{
			{name: "app to remote", owner: app, dst: "REMOTE:80", want: "remote remote 15001 remote 15011"},
			{name: "app to another", owner: app, dst: "ANOTHER:80", want: "15001 remote 15001 remote remote"},
			{name: "app to remote included port", owner: app, dst: "REMOTE:32000", want: "remote 15001 15001 remote 15011"},
			{name: "app to another included port", owner: app, dst: "ANOTHER:32000", want: "15001 15001 15001 remote remote"},
			{name: "second owner to remote", owner: second, dst: "REMOTE:80", want: "remote remote remote remote 15011"},
			{name: "second owner to own pod", owner: second, dst: "POD:8080", want: "8080 8080 15006 8080 8080"},
			{name: "first owner to own pod", owner: proxy, dst: "POD:22", want: "15006 15006 15006 15006 15016"},
			{name: "peer to 8080", from: fromPeer, dst: "POD:8080", want: "8080 15006 15006 15006 8080"},
			{name: "peer to 22", from: fromPeer, dst: "POD:22", want: "22 15006 15006 15006 15016"},
			{name: "peer to 15020", from: fromPeer, dst: "POD:15020", want: "15006 15020 15006 15006 15016"},
		},
	}
}

// diversions is what TPROXY does with the options that work otherwise than with REDIRECT.
func diversions() columns {
	return columns{
		args: []string{
			"-m TPROXY -i * -b 8080,22,15008",
			"-m TPROXY -i * -o 8080",
			"-m TPROXY -b * -d 22 -z 15016 -e 8080",
		},
		conns: []connection{
			{name: "app to remote", owner: app, dst: "REMOTE:80", want: "15001 15001 remote"},
			{name: "app to own pod", owner: app, dst: "POD:8080", want: "8080 8080 8080"},
			{name: "proxy to own pod", owner: gidOnly, dst: "POD:8080", want: "15006 8080 8080"},
			{name: "proxy to own pod, port of no one", owner: gidOnly, dst: "POD:9", want: "15006 15006 15016"},
			{name: "peer to 8080", from: fromPeer, dst: "POD:8080", want: "15006 8080 8080"},
			{name: "peer to 22", from: fromPeer, dst: "POD:22", want: "15006 22 22"},
			{name: "peer to closed port", from: fromPeer, dst: "POD:9", want: "refused refused 15016"},
			{name: "peer to tunnel", from: fromPeer, dst: "POD:15008", want: "15008 15008 15016"},
		},
	}
}

// owners is what the options about processes do.
func owners() columns {
	return columns{
		args: []string{
			"-i * ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE=7,888",
			"-i * ISTIO_OUTBOUND_OWNER_GROUPS=7,888",
			"-i * ISTIO_OUTBOUND_OWNER_GROUPS=,",
			"-i * ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR=127.0.0.0/8",
			"-i 127.0.0.5 ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR=127.0.0.4/30 -m TPROXY",
		},
		conns: []connection{
			{name: "app to remote", owner: app, dst: "REMOTE:80", want: "15001 remote remote 15001 remote"},
			{name: "member to remote", owner: member, dst: "REMOTE:80", want: "remote 15001 remote 15001 remote"},
			{name: "member to own pod", owner: member, dst: "POD:8080", want: "8080 8080 8080 8080 8080"},
			{name: "proxy to remote", owner: proxy, dst: "REMOTE:80", want: "remote remote remote remote remote"},
			{name: "proxy to own pod", owner: proxy, dst: "POD:8080", want: "15006 15006 15006 15006 15006"},
			{name: "proxy to other loopback", owner: proxy, dst: "127.0.0.5:8080", want: "15006 15006 15006 8080 8080", only4: true},
			{name: "proxy to loopback outside", owner: proxy, dst: "127.0.0.9:8080", want: "15006 15006 15006 8080 15006", only4: true},
			{name: "app to other loopback", owner: app, dst: "127.0.0.5:8080", want: "8080 8080 8080 8080 8080", only4: true},
			{name: "validation", owner: proxy, src: "127.0.0.1", dst: "127.0.0.6:15002", want: "15006 15006 15006 15006 15006", only4: true},
		},
	}
}

// links is what the options about interfaces do, with another network, or a guest, at
// interface net1.
func links() columns {
	return columns{
		args: []string{
			"-i * -b * -c net1",
			"-i * -b * -k net1",
			"-i 8.8.8.0/24,2001:4860::/32 -x 8.8.8.9,2001:4860:4860::9 -b * -k net1",
			"-i * -x 9.9.9.9,2620:fe::9 -o 53 -b 8080 -k eth9,net1",
			"-b * -k net1",
			"-m TPROXY -i * -b * -c net1",
			"-m TPROXY -i * -b * -k net1",
			"-i * -b * -c eth9",
		},
		conns: []connection{
			{name: "guest to pod", from: fromGuest, dst: "LINK:8080", want: "8080 15001 8080 15001 8080 8080 15001 15006"},
			{name: "guest to closed port", from: fromGuest, dst: "LINK:9", want: "refused 15001 refused 15001 refused refused 15001 15006"},
			{name: "guest to remote", from: fromGuest, dst: "REMOTE:80", want: "remote 15001 15001 15001 remote remote 15001 15006"},
			{name: "guest to another", from: fromGuest, dst: "ANOTHER:80", want: "remote 15001 remote remote remote remote 15001 15006"},
			{name: "guest to remote port 53", from: fromGuest, dst: "REMOTE:53", want: "remote 15001 15001 remote remote remote 15001 15006"},
			{name: "app to guest", owner: app, dst: "GUEST:80", want: "guest 15001 guest 15001 guest guest 15001 15001"},
			{name: "app to remote", owner: app, dst: "REMOTE:80", want: "15001 15001 15001 15001 remote 15001 15001 15001"},
			{name: "peer to app", from: fromPeer, dst: "POD:8080", want: "15006 15006 15006 15006 15006 15006 15006 15006"},
		},
	}
}

func TestVerdicts(t *testing.T) {
	tables := []columns{observed(), winners(), diversions(), owners(), links(), queries(), datagrams()}
	for _, backend := range backends(t) {
		t.Run(backend.name, func(t *testing.T) {
			t.Parallel()
			p := newPod(t)
			for _, table := range tables {
				for i, args := range table.args {
					if r := p.become(t, backend.flag+" "+args); r.err != nil {
						t.Fatalf("%s: %v", args, r.err)
					}
					p.checkColumn(t, table, i)
				}
			}
		})
	}
}

// checkColumn makes the calls of a table under the settings of its column i.
func (p pod) checkColumn(t *testing.T, table columns, i int) {
	t.Helper()
	var conns []connection
	var calls []netlab.Call
	for _, c := range table.conns {
		conns, calls = append(conns, c), append(calls, c.call(p.at, ipv4Names()))
		if !c.only4 {
			conns, calls = append(conns, c), append(calls, c.call(p.at, ipv6Names()))
		}
	}
	// Without rules the kernel tracks no connection and knows no original destination.
	tracked := table.args[i] != "-m NONE"
	for n, got := range p.Try(calls...) {
		want, to := strings.Fields(conns[n].want)[i], calls[n].To.String()
		if got.Listener != want {
			t.Errorf("%s: %s (%s): reached %s, want %s", table.args[i], conns[n].name, to, got.Listener, want)
		}
		if tracked && !calls[n].UDP && want != "refused" && want != "remote" && want != "guest" && got.Meant != to {
			t.Errorf("%s: %s (%s): original destination %s", table.args[i], conns[n].name, to, got.Meant)
		}
	}
}

// TestProxySourceIPv6 is the row of the matrix that needs an address on lo: there while
// there are rules, gone after.
func TestProxySourceIPv6(t *testing.T) {
	lab := netlab.New(t, true)
	lab.Serve(t, []uint16{8080, 15006}, nil)
	dial := func() netlab.Reached {
		return netlab.Dial(lab.Pod, proxy, netip.MustParseAddr("::6"), netip.MustParseAddrPort("["+netlab.Pod6+"]:8080"))
	}
	mustRun(t, lab, "-i * -b *")
	mustRun(t, lab, "-i * -b 80") // the address is there already
	if got := dial(); got.Listener != "8080" {
		t.Errorf("proxy from ::6 to its own pod reached %q, want the application", got.Listener)
	}
	mustRun(t, lab, "--cleanup-only")
	if got := dial(); got.Listener != "bind: cannot assign requested address" {
		t.Errorf("after cleanup ::6 can still be used: reached %q", got.Listener)
	}
}

// call is the connection as a lab makes it. at is the namespace of fromPod and the rest.
func (c connection) call(at func(from int) netns.NsHandle, names *strings.Replacer) netlab.Call {
	call := netlab.Call{At: at(c.from), Owner: c.owner, UDP: c.udp, To: netip.MustParseAddrPort(names.Replace(c.dst))}
	if c.src != "" {
		call.From = netip.AddrPortFrom(netip.MustParseAddr(c.src), 0)
	}
	return call
}

func ipv4Names() *strings.Replacer {
	return strings.NewReplacer("POD", netlab.Pod4, "PEER", netlab.Peer4, "REMOTE", netlab.Remote4,
		"ANOTHER", netlab.Another4, "LOCAL", "127.0.0.1",
		"LINK", netlab.Link4, "GUEST", netlab.Guest4)
}

func ipv6Names() *strings.Replacer {
	return strings.NewReplacer("POD", "["+netlab.Pod6+"]", "PEER", "["+netlab.Peer6+"]", "REMOTE", "["+netlab.Remote6+"]",
		"ANOTHER", "["+netlab.Another6+"]", "LOCAL", "[::1]",
		"LINK", "["+netlab.Link6+"]", "GUEST", "["+netlab.Guest6+"]")
}
