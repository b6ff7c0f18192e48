package intercept

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
	"github.com/sluicemesh/sluice/initcontainer/verify"
	"github.com/sluicemesh/sluice/internal/capture"
)

// usual is the interface of a pod, and of a packet for which none is named.
const usual = "eth0"

// offline is a question without a pod: arguments in place of it.
type offline struct {
	// line is the arguments of sluice-init: words, of which NAME=VALUE are its environment,
	// or a JSON list as kubectl prints it.
	line string
	// resolvers are the servers in the pod's resolv.conf, by commas.
	resolvers string
}

// trace plans the rules for the arguments and shows the way of p through them.
func (q offline) trace(out io.Writer, p packetFlags) error {
	c, err := q.config()
	if err != nil {
		return err
	}
	one, family, err := p.packet()
	if err != nil {
		return err
	}
	t := verify.Trace(c, family, rule.ListingOf(rule.NFTables, plan.Build(c, family).Rules), one)
	t.Write(out)
	if !t.Agrees() {
		return Differs
	}
	return nil
}

// config reads the arguments.
func (q offline) config() (capture.Config, error) {
	args, env, err := q.words()
	if err != nil {
		return capture.Config{}, err
	}
	c, _, err := capture.Parse(args, func(name string) string { return env[name] })
	if err != nil {
		return capture.Config{}, fmt.Errorf("--args: %w", err)
	}
	for word := range strings.SplitSeq(q.resolvers, ",") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		server, err := netip.ParseAddr(word)
		if err != nil {
			return capture.Config{}, fmt.Errorf("--nameservers: %q is no address", word)
		}
		c.DNSServers = append(c.DNSServers, server.Unmap())
	}
	if c.RedirectDNS && !c.CaptureAllDNS && len(c.DNSServers) == 0 {
		return capture.Config{}, errors.New("--args ask for the DNS queries to the servers of resolv.conf: name them with --nameservers, or add --capture-all-dns")
	}
	return c, nil
}

// words parts the line into arguments and environment.
func (q offline) words() (args []string, env map[string]string, err error) {
	if strings.HasPrefix(strings.TrimSpace(q.line), "[") {
		if err := json.Unmarshal([]byte(q.line), &args); err != nil {
			return nil, nil, fmt.Errorf("--args begins like a JSON list and is none: %w", err)
		}
		return args, nil, nil
	}
	env = map[string]string{}
	for word := range strings.FieldsSeq(q.line) {
		name, value, pair := strings.Cut(word, "=")
		switch {
		case word == `""` || word == "''":
			args = append(args, "")
		case pair && variable(name):
			env[name] = value
		default:
			args = append(args, word)
		}
	}
	return args, env, nil
}

// variable reports whether name is one of an environment variable.
func variable(name string) bool {
	return name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// packet is the first packet of a connection, or a datagram, in a pod of which only the
// arguments are known.
func (p packetFlags) packet() (one packet.Packet, f rule.Family, err error) {
	to, err := netip.ParseAddrPort(p.to)
	if err != nil {
		return one, f, fmt.Errorf("--to is %q: write ADDRESS:PORT, with an IPv6 address in brackets", p.to)
	}
	one = packet.Packet{
		Protocol: packet.TCP, Destination: to.Addr().Unmap(), DestPort: to.Port(),
		In: p.in, UID: packet.Nobody, GID: packet.Nobody,
	}
	if p.udp {
		one.Protocol = packet.UDP
	}
	// Of the ranges for examples.
	own := netip.AddrFrom4([4]byte{192, 0, 2, 1})
	f = rule.IPv4
	if one.Destination.Is6() {
		own, f = netip.MustParseAddr("2001:db8::1"), rule.IPv6
	}
	if p.in == "" {
		one.Out, one.UID, one.GID = cmp.Or(p.out, usual), p.uid, p.gid
		if one.Destination.IsLoopback() {
			one.Out, own = packet.Lo, one.Destination
		}
	}
	if one.Source, one.SourcePort, err = p.source(own); err != nil {
		return one, f, err
	}
	if one.Source.Is4() != one.Destination.Is4() {
		return one, f, fmt.Errorf("--from %s and --to %s are of two families", one.Source, one.Destination)
	}
	return one, f, nil
}

// source is where a packet comes from, otherwise if the user does not say.
func (p packetFlags) source(otherwise netip.Addr) (netip.Addr, uint16, error) {
	const port = 40000
	if p.from == "" {
		return otherwise, port, nil
	}
	if a, err := netip.ParseAddr(p.from); err == nil {
		return a.Unmap(), port, nil
	}
	a, err := netip.ParseAddrPort(p.from)
	if err != nil {
		return netip.Addr{}, 0, fmt.Errorf("--from is %q: write ADDRESS or ADDRESS:PORT", p.from)
	}
	return a.Addr().Unmap(), a.Port(), nil
}
