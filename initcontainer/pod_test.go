package initcontainer_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/netlab"
)

// pod is a lab in which everybody whom a packet may reach listens. Making one takes longer
// than trying a configuration in it, so a test uses one for many.
type pod struct {
	*netlab.Lab
	guest     netns.NsHandle // behind interface net1
	resolvers string         // the pod's resolv.conf
}

// Who listens where. On port 9 nobody does.
var (
	applicationPorts = []uint16{22, 53, 80, 8080, 15002, 15008, 15020, 15021, 15090, 32000}
	proxyPorts       = []uint16{15001, 15006, 15011, 15016}
	remotePorts      = slices.Concat(applicationPorts, proxyPorts, []uint16{agentPort}) // of peer and guest
)

// agentPort is where the agent answers queries.
const agentPort = 15053

func newPod(t testing.TB) pod {
	t.Helper()
	return newPodWith(t, netlab.Listener{})
}

// newPodWith is newPod with an agent that does with queries what the listener does.
func newPodWith(t testing.TB, agent netlab.Listener) pod {
	t.Helper()
	p := pod{Lab: netlab.New(t, true), resolvers: filepath.Join(t.TempDir(), "resolv.conf")}
	p.guest = p.Attach(t, "net1", remotePorts...)
	p.Serve(t, applicationPorts, remotePorts)
	p.ServeProxy(t, proxyPorts...)
	agent.At, agent.Name, agent.Port, agent.Owner = p.Pod, strconv.Itoa(agentPort), agentPort, proxy
	netlab.Listen(t, agent)
	text := fmt.Sprintf("search svc.cluster.local\nnameserver %s\nnameserver %s\n", netlab.Remote4, netlab.Remote6)
	if err := os.WriteFile(p.resolvers, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// servers is what the pod's resolv.conf lists.
func servers() []netip.Addr {
	return []netip.Addr{netip.MustParseAddr(netlab.Remote4), netip.MustParseAddr(netlab.Remote6)}
}

// at is the namespace of fromPod and the rest.
func (p pod) at(from int) netns.NsHandle { return []netns.NsHandle{p.Pod, p.Peer, p.guest}[from] }

// become gives the pod the rules of other settings, and lets it forget all connections,
// which would keep what the rules of before made of them.
func (p pod) become(t *testing.T, line string) result {
	t.Helper()
	r := runIn(t, p.Lab, p.resolvers, line)
	p.ForgetConnections(t)
	if s, err := read(line); err == nil && r.err == nil && !s.none {
		p.awaitSource(t)
	}
	return r
}

// awaitSource waits until ::6 is routed to the pod: a worker of the kernel does that, soon
// after the address is given to lo.
func (p pod) awaitSource(t *testing.T) {
	t.Helper()
	err := netlab.In(p.Pod, func() error {
		for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
			routes, err := netlink.RouteGet(net.ParseIP("::6"))
			if err == nil && len(routes) == 1 && routes[0].Type == unix.RTN_LOCAL {
				return nil
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("::6 is routed to %v: %w", routes, err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
