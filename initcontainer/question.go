package initcontainer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/pflag"

	"github.com/sluicemesh/sluice/initcontainer/packet"
)

// Question is what the programs' words "verify" and "trace" ask about the rules in force.
type Question struct {
	Verb string // "verify" or "trace"
	JSON bool   // answer for programs

	flags  *pflag.FlagSet
	to     string
	from   string
	in     string
	out    string
	udp    bool
	uid    uint32
	gid    uint32
	packet packet.Packet // of trace
}

// NewQuestion takes the question's own flags out of args, which begin with its verb, and
// returns the rest: the arguments of the run that is asked about. ok is false when args
// are no question. Errors name the flag.
func NewQuestion(args []string) (q Question, rest []string, ok bool, err error) {
	if len(args) == 0 || args[0] != "verify" && args[0] != "trace" {
		return q, args, false, nil
	}
	q.Verb = args[0]
	q.flags = pflag.NewFlagSet(q.Verb, pflag.ContinueOnError)
	q.flags.BoolVar(&q.JSON, "json", false, "answer in JSON")
	if q.Verb == "trace" {
		q.flags.StringVar(&q.to, "to", "", "destination, ADDRESS:PORT")
		q.flags.StringVar(&q.from, "from", "", "source, ADDRESS or ADDRESS:PORT; empty for what the routes say, or any where it arrives")
		q.flags.StringVar(&q.in, "in", "", "interface by which it arrives; empty for a packet that the pod sends")
		q.flags.StringVar(&q.out, "out", "", "interface by which it leaves; empty for what the routes say")
		q.flags.BoolVar(&q.udp, "udp", false, "a UDP packet, else TCP")
		q.flags.Uint32Var(&q.uid, "uid", 1000, "user of the process that sends it")
		q.flags.Uint32Var(&q.gid, "gid", 1000, "group of the process that sends it")
	}
	own, rest := q.sift(args[1:])
	if err := q.flags.Parse(own); err != nil {
		return q, rest, true, fmt.Errorf("%s: %w", q.Verb, err)
	}
	if q.Verb == "trace" {
		q.packet, err = q.described()
	}
	return q, rest, true, err
}

// sift parts the question's flags from others.
func (q Question) sift(args []string) (own, rest []string) {
	for i := 0; i < len(args); i++ {
		name, long := strings.CutPrefix(args[i], "--")
		name, _, valued := strings.Cut(name, "=")
		f := q.flags.Lookup(name)
		if !long || f == nil {
			rest = append(rest, args[i])
			continue
		}
		own = append(own, args[i])
		if !valued && f.NoOptDefVal == "" && i+1 < len(args) {
			i++
			own = append(own, args[i])
		}
	}
	return own, rest
}

// described is the packet that the flags describe.
func (q Question) described() (packet.Packet, error) {
	to, err := netip.ParseAddrPort(q.to)
	if err != nil {
		return packet.Packet{}, fmt.Errorf("--to %q: write ADDRESS:PORT, such as 10.0.0.1:80 or [2001:db8::1]:80", q.to)
	}
	p := packet.Packet{
		In: q.in, Out: q.out, Protocol: packet.TCP, SourcePort: 40000,
		Destination: to.Addr().Unmap(), DestPort: to.Port(), UID: q.uid, GID: q.gid,
	}
	if q.udp {
		p.Protocol = packet.UDP
	}
	if q.from != "" {
		if at, err := netip.ParseAddrPort(q.from); err == nil {
			p.Source, p.SourcePort = at.Addr().Unmap(), at.Port()
		} else if p.Source, err = netip.ParseAddr(q.from); err != nil {
			return p, fmt.Errorf("--from %q: write ADDRESS or ADDRESS:PORT", q.from)
		}
		p.Source = p.Source.Unmap()
	}
	switch {
	case p.Source.IsValid() && p.Source.Is4() != p.Destination.Is4():
		return p, fmt.Errorf("--from %s and --to %s are not of the same family", p.Source, p.Destination)
	case p.In != "" && p.Out != "":
		return p, errors.New("--in and --out: a packet arrives by one interface, or is sent by one")
	case p.In == packet.Lo:
		return p, errors.New("--in lo: what arrives by lo was sent by the pod; leave --in out")
	case p.In == "":
		return p, nil
	}
	p.UID, p.GID = packet.Nobody, packet.Nobody
	if !p.Source.IsValid() { // some address outside
		p.Source = netip.MustParseAddr("192.0.2.7")
		if p.Destination.Is6() {
			p.Source = netip.MustParseAddr("2001:db8::7")
		}
	}
	return p, nil
}

// Answer answers q about the run that c describes, on c.Out, and reports whether packets
// go where they should. An error means that this could not be found out.
func Answer(ctx context.Context, c Config, q Question) (well bool, err error) {
	if q.Verb == "trace" {
		t, err := Trace(ctx, c, q.packet)
		if err != nil {
			return false, err
		}
		if q.JSON {
			return t.Agrees(), writeJSON(c.Out, jsonTracing(t))
		}
		t.Write(c.Out)
		return t.Agrees(), nil
	}
	found, err := Verify(ctx, c)
	if err != nil {
		return false, err
	}
	well = true
	for _, f := range found {
		well = well && f.Proven()
	}
	if q.JSON {
		return well, writeJSON(c.Out, jsonFindings(well, found))
	}
	for _, f := range found {
		f.write(c.Out)
	}
	return well, nil
}

func (f Finding) write(w io.Writer) {
	if f.Proven() {
		fmt.Fprintf(w, "%s: proven for all packets, %d rules, in %s\n", f.Family, f.Rules, f.Took)
		return
	}
	if f.Routing != nil {
		fmt.Fprintf(w, "%s: %s\n", f.Family, f.Routing)
	}
	if f.Disproof != nil {
		f.Disproof.Write(w)
	}
}
