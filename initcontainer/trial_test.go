package initcontainer_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/intent"
	"github.com/sluicemesh/sluice/initcontainer/netlab"
	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// trial is a call and, of its first packet, what rules can tell.
type trial struct {
	name   string // the same in both families
	family rule.Family
	call   netlab.Call
	packet packet.Packet
	needs6 bool // an address that IPv6 has on lo only while there are rules
}

func (tr trial) String() string {
	return fmt.Sprintf("%s over %s: %s", tr.name, tr.family, tr.packet)
}

// spot is a place of the pod's world: how a call names it, and its address.
type spot struct{ name, v4, v6 string }

func (s spot) addr(f rule.Family) netip.Addr {
	if f == rule.IPv4 {
		return netip.MustParseAddr(s.v4)
	}
	return netip.MustParseAddr(s.v6)
}

var (
	remoteSpot  = spot{"remote", netlab.Remote4, netlab.Remote6}
	anotherSpot = spot{"another", netlab.Another4, netlab.Another6}
	podSpot     = spot{"pod", netlab.Pod4, netlab.Pod6}
	peerSpot    = spot{"peer", netlab.Peer4, netlab.Peer6}
	localSpot   = spot{"localhost", "127.0.0.1", "::1"}
	sourceSpot  = spot{"proxy's source", "127.0.0.6", "::6"}
	linkSpot    = spot{"link", netlab.Link4, netlab.Link6}
	guestSpot   = spot{"guest", netlab.Guest4, netlab.Guest6}
	otherSpot   = spot{"other loopback", "127.0.0.5", ""} // IPv6 has only one
)

// trialOwners are processes of each kind that options tell apart.
var trialOwners = []struct {
	name  string
	owner netlab.Owner
}{
	{"app", app}, {"proxy", proxy}, {"uid only", uidOnly}, {"gid only", gidOnly}, {"second uid", second},
	{"member", member}, {"other group", netlab.Owner{UID: 1000, GID: 7}}, {"root", netlab.Owner{}},
}

// trialPorts are those with a meaning and some without. Nobody listens on 9.
var trialPorts = []uint16{9, 22, 53, 80, 8080, 15001, 15002, 15006, 15008, 15020, 15053, 15090, 32000}

// trials is every kind of call in p.
func (p pod) trials() []trial {
	var all []trial
	for _, f := range []rule.Family{rule.IPv4, rule.IPv6} {
		for _, udp := range []bool{false, true} {
			all = append(all, p.sentTrials(f, udp)...)
			all = append(all, p.arrivingTrials(f, udp)...)
		}
	}
	return all
}

func (p pod) sentTrials(f rule.Family, udp bool) (out []trial) {
	targets := []spot{remoteSpot, anotherSpot, podSpot, localSpot, linkSpot, guestSpot}
	if f == rule.IPv4 {
		targets = append(targets, otherSpot)
	}
	for _, o := range trialOwners {
		for _, to := range targets {
			for _, port := range trialPorts {
				out = append(out, p.trial(f, udp, fromPod, trialEnds{owner: o.owner, to: to, port: port, from: source(to), name: o.name}))
			}
		}
		for _, port := range []uint16{53, 8080, 15002} {
			own := trialEnds{owner: o.owner, to: podSpot, port: port, from: sourceSpot, bound: true, name: o.name + " as proxy's source"}
			probe := trialEnds{owner: o.owner, to: sourceSpot, port: port, from: localSpot, bound: true, name: o.name + " as localhost"}
			out = append(out, p.trial(f, udp, fromPod, own), p.trial(f, udp, fromPod, probe))
		}
	}
	return slices.DeleteFunc(out, func(tr trial) bool { return tr.silent() })
}

// source is what the kernel binds a call to: the address of the link, or over lo the
// target's, where it has one on an interface.
func source(to spot) spot {
	switch to {
	case remoteSpot, anotherSpot:
		return podSpot
	case guestSpot:
		return linkSpot
	case otherSpot:
		return localSpot
	}
	return to
}

func (p pod) arrivingTrials(f rule.Family, udp bool) (out []trial) {
	for _, port := range trialPorts {
		out = append(out, p.trial(f, udp, fromPeer, trialEnds{to: podSpot, port: port, from: peerSpot, name: "peer"}))
		for _, to := range []spot{podSpot, linkSpot, remoteSpot, anotherSpot} {
			out = append(out, p.trial(f, udp, fromGuest, trialEnds{to: to, port: port, from: guestSpot, name: "guest"}))
		}
	}
	return slices.DeleteFunc(out, func(tr trial) bool { return tr.silent() })
}

// silent reports whether nobody may answer a call: hosts limit how often they refuse
// datagrams.
func (tr trial) silent() bool { return tr.call.UDP && tr.packet.DestPort == 9 }

// trialEnds are the two ends of a trial.
type trialEnds struct {
	name  string
	owner netlab.Owner
	from  spot
	bound bool // to from, explicitly
	to    spot
	port  uint16
}

func (p pod) trial(f rule.Family, udp bool, place int, e trialEnds) trial {
	tr := trial{
		family: f, needs6: f == rule.IPv6 && (e.from == sourceSpot || e.to == sourceSpot),
		call: netlab.Call{At: p.at(place), Owner: e.owner, UDP: udp, To: netip.AddrPortFrom(e.to.addr(f), e.port)},
		packet: packet.Packet{
			Protocol: packet.TCP, Source: e.from.addr(f), SourcePort: 40000, Destination: e.to.addr(f), DestPort: e.port,
			UID: uint32(e.owner.UID), GID: uint32(e.owner.GID),
		},
	}
	tr.name = fmt.Sprintf("%s to %s:%d", e.name, e.to.name, e.port)
	if udp {
		tr.packet.Protocol = packet.UDP
		tr.name += " by UDP"
	}
	if e.bound {
		tr.call.From = netip.AddrPortFrom(e.from.addr(f), 0)
	}
	switch {
	case place != fromPod:
		tr.packet.In = map[int]string{fromPeer: "eth0", fromGuest: "net1"}[place]
		tr.packet.UID, tr.packet.GID = packet.Nobody, packet.Nobody
	case e.to == remoteSpot || e.to == anotherSpot:
		tr.packet.Out = "eth0"
	case e.to == guestSpot:
		tr.packet.Out = "net1"
	default:
		tr.packet.Out = packet.Lo
	}
	return tr
}

// settings are a command line and what it means.
type settings struct {
	line   string
	config capture.Config
	wishes map[rule.Family]*intent.Wish
	none   bool // there are no rules of IPv6
}

// read is what a command line means in a pod.
func read(line string) (settings, error) {
	config, _, err := parse(line)
	if config.RedirectDNS && !config.CaptureAllDNS {
		config.DNSServers = servers()
	}
	return settings{
		line: line, config: config,
		wishes: map[rule.Family]*intent.Wish{rule.IPv4: intent.New(config, rule.IPv4), rule.IPv6: intent.New(config, rule.IPv6)},
		none:   config.Mode == capture.None || plan.Build(config, rule.IPv6).Rules.Empty(),
	}, err
}

// want is who must answer a trial, and why.
func (s settings) want(tr trial) (listener, because string) {
	out := s.wishes[tr.family].Of(tr.packet)
	switch out.Verdict {
	case packet.Redirected, packet.Diverted:
		return strconv.Itoa(int(out.Port)), out.Because
	case packet.Alone:
		return tr.natural(), out.Because
	case packet.Dropped, packet.Taken:
	}
	return "nobody", out.Because // which no trial may end in
}

// natural is who answers where nothing is captured.
func (tr trial) natural() string {
	port := tr.packet.DestPort
	listens := map[bool]string{true: strconv.Itoa(int(port)), false: "refused"}
	switch to := tr.packet.Destination.String(); {
	case port == 9:
		return "refused"
	case slices.Contains([]string{netlab.Remote4, netlab.Remote6, netlab.Another4, netlab.Another6}, to):
		return "remote"
	case to == netlab.Guest4 || to == netlab.Guest6:
		return "guest"
	}
	return listens[port == agentPort || slices.Contains(applicationPorts, port) || slices.Contains(proxyPorts, port)]
}

// possible reports whether a trial can be made under s.
func (s settings) possible(tr trial) bool { return !tr.needs6 || !s.none }

// judge says what is wrong with where a trial ended up, "" if nothing is.
func (s settings) judge(tr trial, got netlab.Reached) string {
	want, because := s.want(tr)
	switch {
	case got.Listener != want:
		return fmt.Sprintf("%s: reached %s, want %s: %s", tr, got.Listener, want, because)
	case tr.call.UDP || want == tr.natural() || got.Meant == tr.call.To.String():
		return ""
	}
	return fmt.Sprintf("%s: %s was told that it is meant for %q", tr, want, got.Meant)
}

// fault is a trial that ended up where it must not.
type fault struct {
	trial
	what string
}

// try makes those of the trials that are possible.
func (p pod) try(s settings, list []trial) (faults []fault) {
	list = slices.DeleteFunc(slices.Clone(list), func(tr trial) bool { return !s.possible(tr) })
	calls := make([]netlab.Call, len(list))
	for i, tr := range list {
		calls[i] = tr.call
	}
	for i, got := range p.Try(calls...) {
		if what := s.judge(list[i], got); what != "" {
			faults = append(faults, fault{list[i], what})
		}
	}
	return faults
}
