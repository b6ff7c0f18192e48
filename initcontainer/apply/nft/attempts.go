package nft

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// ForgetAttempts makes the connection tracker forget the attempts to connect that nobody has
// answered yet, of families whose inbound connections from diverted, when it is asked after
// new rules of nat are in force.
//
// Nat decides by the first packet of a connection. One that was diverted, and then lost in
// a full queue, has made the decision to rewrite nothing; repeated when nothing is diverted
// any more, it would pass the proxy by. Once forgotten, it is a first packet again.
//
// A kernel that does not list its connections (module nf_conntrack_netlink) is left as it is.
func ForgetAttempts(from, to map[rule.Family]rule.Sets) error {
	for _, f := range families() {
		if !diverts(from[f]) || to[f][rule.Nat].Empty() || sameSet(from[f][rule.Nat], to[f][rule.Nat]) {
			continue
		}
		family := netlink.InetFamily(unix.AF_INET)
		if f == rule.IPv6 {
			family = unix.AF_INET6
		}
		_, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, attempts{})
		// Entries come and go while they are listed, and EINVAL is from a kernel that has no list.
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("forget unanswered %s connections: %w", f, err)
		}
	}
	return nil
}

// attempts are the TCP connections that are not rewritten and not answered.
type attempts struct{}

// MatchConntrackFlow reports whether the flow is such a connection.
func (attempts) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	tcp, ok := flow.ProtoInfo.(*netlink.ProtoInfoTCP)
	there, back := flow.Forward, flow.Reverse
	return ok && tcp.State == synSent &&
		there.SrcIP.Equal(back.DstIP) && there.DstIP.Equal(back.SrcIP) &&
		there.SrcPort == back.DstPort && there.DstPort == back.SrcPort
}

// synSent is TCP_CONNTRACK_SYN_SENT.
const synSent = 1
