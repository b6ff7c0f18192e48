package intercept

import (
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sluicemesh/sluice/cli/target"
)

// packet is the packet that a user asks about, in the words of sluice-init.
type packet struct {
	to, from, iface string
	udp             bool
	uid, gid        int64 // negative for none given
}

// TraceCommand returns the verb trace-packet.
func TraceCommand(t *target.Target) *cobra.Command {
	o := &options{target: t}
	var p packet
	cmd := &cobra.Command{
		Use:   "trace-packet POD --to ADDRESS:PORT",
		Short: "Show the way of a packet through a pod's interception rules, rule by rule",
		Long: `Show the way of a packet through the interception rules in force in a pod, rule by rule, what becomes of it,
and what the pod asks for.

Without --in, a process of the pod sends the packet; --uid and --gid say whose process. With --in, it arrives
by that interface.

` + rights + `

The exit code is 0 when the packet goes the way it should, 1 when it does not, 2 when it could not be found out.`,
		Example: `  sluice trace-packet httpbin-5d4f-abcde -n shop --to 10.96.0.1:443 --uid 1000
  sluice trace-packet httpbin-5d4f-abcde -n shop --in eth0 --from 10.244.0.9 --to 10.244.0.5:8080`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if p.to == "" {
				return o.told(errors.New("--to is missing: where does the packet go, ADDRESS:PORT?"))
			}
			return o.told(o.inPod(cmd.Context(), args[0], question{verb: "trace", args: p.arguments()}))
		},
	}
	o.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&p.to, "to", "", "where the packet goes, ADDRESS:PORT")
	f.StringVar(&p.from, "from", "", "where it comes from, ADDRESS or ADDRESS:PORT; empty for the pod's own")
	f.StringVar(&p.iface, "in", "", "interface by which it arrives; empty for a packet that the pod sends")
	f.BoolVar(&p.udp, "udp", false, "a UDP packet; else the first of a TCP connection")
	f.Int64Var(&p.uid, "uid", -1, "user of the process that sends it; negative for one that no rule names")
	f.Int64Var(&p.gid, "gid", -1, "group of that process")
	return cmd
}

// arguments are the flags of sluice-init's trace.
func (p packet) arguments() []string {
	args := []string{"--to", p.to}
	for _, f := range []struct{ flag, value string }{{"--from", p.from}, {"--in", p.iface}, {"--uid", id(p.uid)}, {"--gid", id(p.gid)}} {
		if f.value != "" {
			args = append(args, f.flag, f.value)
		}
	}
	if p.udp {
		args = append(args, "--udp")
	}
	return args
}

func id(n int64) string {
	if n < 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}
