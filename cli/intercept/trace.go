package intercept

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sluicemesh/sluice/cli/target"
)

// packetFlags are the packet that a user asks about, in the words of sluice-init.
type packetFlags struct {
	to, from, in, out string
	udp               bool
	uid, gid          uint32 // of no matter for packets that arrive
}

// TraceCommand returns the verb trace-packet.
func TraceCommand(t *target.Target) *cobra.Command {
	o := &options{target: t}
	var p packetFlags
	var without offline
	cmd := &cobra.Command{
		Use:   "trace-packet {POD | --args ARGUMENTS} --to ADDRESS:PORT",
		Short: "Show the way of a packet through a pod's interception rules, rule by rule",
		Long: `Show the way of a packet through the interception rules in force in a pod, rule by rule, what becomes of it,
and what the pod asks for.

Without --in, a process of the pod sends the packet; --uid and --gid say whose process. With --in, it arrives
by that interface.

With --args, no cluster is asked: the way is that through the rules which sluice-init would write for these
arguments; words NAME=VALUE are its environment.

` + rights + `

The exit code is 0 when the packet goes the way it should, 1 when it does not, 2 when it could not be found out.`,
		Example: `  sluice trace-packet httpbin-5d4f-abcde -n shop --to 10.96.0.1:443 --uid 1000
  sluice trace-packet httpbin-5d4f-abcde -n shop --in eth0 --from 10.244.0.9 --to 10.244.0.5:8080
  sluice trace-packet --args "-i * -b * -x 10.0.0.0/8" --to 10.1.2.3:80 --uid 1000`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return o.told(fmt.Errorf("name one POD; %q is one word too many", args[1]))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.told(o.trace(cmd, args, p, without))
		},
	}
	o.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&p.to, "to", "", "where the packet goes, ADDRESS:PORT")
	f.StringVar(&p.from, "from", "", "where it comes from, ADDRESS or ADDRESS:PORT; empty for the pod's own")
	f.StringVar(&p.in, "in", "", "interface by which it arrives; empty for a packet that the pod sends")
	f.BoolVar(&p.udp, "udp", false, "a UDP packet; else the first of a TCP connection")
	f.Uint32Var(&p.uid, "uid", 1000, "user of the process that sends it")
	f.Uint32Var(&p.gid, "gid", 1000, "group of that process")
	f.StringVar(&without.line, "args", "", "arguments of an init container, in place of a pod")
	f.StringVar(&without.resolvers, "nameservers", "", "with --args: servers in resolv.conf, by commas")
	f.StringVar(&p.out, "out", "", "interface by which a packet that the pod sends leaves; empty for what the pod's routes say, and with --args for eth0, or lo to a loopback address")
	return cmd
}

// trace asks a pod, or the plan for arguments.
func (o *options) trace(cmd *cobra.Command, args []string, p packetFlags, without offline) error {
	planned := cmd.Flags().Changed("args")
	switch {
	case p.to == "":
		return errors.New("--to is missing: where does the packet go, ADDRESS:PORT?")
	case planned == (len(args) == 1):
		return errors.New("name a POD, or give an init container's arguments with --args")
	case p.in != "" && p.from == "":
		return errors.New("--from is missing: whose address does a packet come from that arrives by --in?")
	case p.in != "" && p.out != "":
		return errors.New("--in and --out: a packet arrives by one interface, or is sent by one")
	case !planned && without.resolvers != "":
		return errors.New("--nameservers goes with --args; a pod has its own resolv.conf")
	case !planned:
		// Before the pod gets a container that stays with it.
		if _, _, err := p.packet(); err != nil {
			return err
		}
		return o.inPod(cmd.Context(), args[0], question{verb: "trace", args: p.arguments()})
	case o.output != "":
		return errors.New("--output does not go with --args")
	}
	return without.trace(o.target.Out, p)
}

// arguments are the flags of sluice-init's trace.
func (p packetFlags) arguments() []string {
	args := []string{"--to", p.to}
	if p.in == "" {
		args = append(args, "--uid", number(p.uid), "--gid", number(p.gid))
	}
	for _, f := range [][2]string{{"--from", p.from}, {"--in", p.in}, {"--out", p.out}} {
		if f[1] != "" {
			args = append(args, f[0], f[1])
		}
	}
	if p.udp {
		args = append(args, "--udp")
	}
	return args
}

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
