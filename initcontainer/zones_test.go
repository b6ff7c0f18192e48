package initcontainer_test

import (
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/sluicemesh/sluice/initcontainer/netlab"
)

// TestQueriesPassTheAgent has an agent that asks the server itself, and lets everybody use
// the same source ports one after the other, as happens by chance in a pod that lives long.
func TestQueriesPassTheAgent(t *testing.T) {
	for _, backend := range backends(t) {
		t.Run(backend.name, func(t *testing.T) {
			t.Parallel()
			q := newQuestions(t)
			for _, dns := range []string{"--redirect-dns", "--redirect-dns --capture-all-dns", "-m TPROXY -b * --redirect-dns"} {
				r := runIn(t, q.lab, q.resolvers, backend.flag+" -i * "+dns)
				if r.err != nil {
					t.Fatal(r.err)
				}
				q.lab.ForgetConnections(t)
				q.ask(t, dns)
			}
		})
	}
}

// questions is a pod whose agent passes queries on to the server of the same family.
type questions struct {
	lab       *netlab.Lab
	resolvers string
}

func newQuestions(t *testing.T) questions {
	t.Helper()
	p := newPodWith(t, netlab.Listener{Pass: func(client, _ netip.AddrPort, udp bool) netlab.Call {
		server := netlab.Remote4
		if client.Addr().Is6() {
			server = netlab.Remote6
		}
		return netlab.Call{UDP: udp, To: netip.AddrPortFrom(netip.MustParseAddr(server), 53), Patience: time.Second}
	}})
	return questions{p.Lab, p.resolvers}
}

// ask makes the calls that would meet each other's entries in connection tracking.
func (q questions) ask(t *testing.T, dns string) {
	t.Helper()
	throughAgent := netlab.Reached{Listener: "remote", Via: strconv.Itoa(agentPort)}
	direct := netlab.Reached{Listener: "remote"}
	for _, to := range []string{netlab.Remote4, netlab.Remote6} {
		for _, udp := range []bool{true, false} {
			for i, step := range []struct {
				owner netlab.Owner
				port  uint16
				want  netlab.Reached
			}{
				{app, 40001, throughAgent},
				{app, 40001, throughAgent},
				{second, 40001, throughAgent}, // another process gets the port
				{proxy, 40001, direct},        // the agent gets it
				{gidOnly, 40002, direct},
				{app, 40002, throughAgent}, // a process gets one that the agent had
				{uidOnly, 40002, direct},
			} {
				call := netlab.Call{At: q.lab.Pod, Owner: step.owner, UDP: udp, To: netip.AddrPortFrom(netip.MustParseAddr(to), 53)}
				if udp { // a connection's port is free only some time after it was closed
					call.From = netip.AddrPortFrom(netip.Addr{}, step.port)
				}
				got := q.lab.Try(call)[0]
				got.Meant, got.From = "", ""
				if got != step.want {
					t.Errorf("%s: step %d to %s (udp=%t): reached %+v, want %+v", dns, i, to, udp, got, step.want)
				}
			}
		}
	}
}

// TestZonesAreNeeded: without them the agent's own query, from a port that a process had
// before it, comes back to the agent.
func TestZonesAreNeeded(t *testing.T) {
	q := newQuestions(t)
	if r := runIn(t, q.lab, q.resolvers, "--force-iptables-binary=nft -i * --redirect-dns"); r.err != nil {
		t.Fatal(r.err)
	}
	q.lab.Output(t, "iptables-nft", "-t", "raw", "-F")
	from, to := netip.MustParseAddrPort("0.0.0.0:40001"), netip.MustParseAddrPort(netlab.Remote4+":53")
	// One after the other: the first leaves the entry that the second meets.
	first := q.lab.Try(netlab.Call{At: q.lab.Pod, Owner: app, UDP: true, From: from, To: to})[0]
	then := q.lab.Try(netlab.Call{At: q.lab.Pod, Owner: netlab.Owner{UID: 1337}, UDP: true, From: from, To: to, Patience: time.Second})[0]
	if first.Listener == "remote" && then == (netlab.Reached{Listener: "remote", From: netlab.Pod4}) {
		t.Error("both queries went well without zones: this test does not make them collide")
	}
}
