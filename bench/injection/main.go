// Command injection takes the figures of the injection webhook: real AdmissionReviews over
// HTTPS to the real server, in a process of its own, beside two others on the same server.
//
// See bench/README.md. It needs no cluster and listens on loopback only. Figures go to the
// standard output as Markdown, what happens to standard error.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicemesh/sluice/bench/machine"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "injection:", err)
		return 1
	}
	return 0
}

// plan is how much is measured.
type plan struct {
	rounds, reviews int
	crowd, open     time.Duration
	rates           []int
	quiet           int // percent
}

func command() *cobra.Command {
	var p plan
	root := &cobra.Command{
		Use: "injection", Short: "Take the figures of the injection webhook", Args: cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.measure(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := root.Flags()
	flags.IntVar(&p.rounds, "rounds", 5, "rounds of one review at a time, all servers in turn in each")
	flags.IntVar(&p.reviews, "reviews", 1000, "reviews of 5 kB in a round; fewer of the larger ones")
	flags.DurationVar(&p.crowd, "crowd", 5*time.Second, "how long eight clients ask at once; 0 leaves it out")
	flags.DurationVar(&p.open, "open", 30*time.Second, "how long reviews are sent at a rate; 0 leaves it out")
	flags.IntSliceVar(&p.rates, "rates", []int{500, 2000}, "reviews a second")
	flags.IntVar(&p.quiet, "quiet", 0, "wait before measurements until the machine is at most so many percent busy; 0 does not wait")
	var port int
	serve := &cobra.Command{
		Use: "serve PEER", Short: "Serve reviews until the standard input ends: what the other command starts",
		Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return serve(cmd.Context(), peer(args[0]), port, duplex{cmd.InOrStdin(), cmd.OutOrStdout()})
		},
	}
	serve.Flags().IntVar(&port, "port", 0, "port on loopback")
	root.AddCommand(serve)
	return root
}

// duplex is a line to the other process.
type duplex struct {
	io.Reader
	io.Writer
}

// measure takes all figures.
func (p plan) measure(ctx context.Context, out, log io.Writer) error {
	if p.rounds < 1 || p.reviews < 1 || p.quiet < 0 {
		return fmt.Errorf("--rounds and --reviews must be at least 1, --quiet not negative")
	}
	facts, err := machine.Read("/proc")
	if err != nil {
		return err
	}
	before, err := machine.ReadLoad("/proc")
	if err != nil {
		return err
	}
	s := &session{plan: p, log: log, quiet: &machine.Quiet{
		Read: func() (machine.Load, error) { return machine.ReadLoad("/proc") }, Below: float64(p.quiet) / 100,
	}}
	defer s.stop()
	if err := s.start(ctx); err != nil {
		return err
	}
	tables, err := s.tables(ctx)
	if err != nil {
		return err
	}
	after, err := machine.ReadLoad("/proc")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Machine: %s. %s. %s.\n\n", facts, time.Now().UTC().Format(time.DateTime+" MST"), after.Since(before))
	for _, t := range tables {
		fmt.Fprint(out, t)
	}
	return nil
}
