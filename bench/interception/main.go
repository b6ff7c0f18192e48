// Command interception takes the figures of the init container without a cluster: how long it
// takes from its start to rules that are verified, beside the bare tools and the bare cost of a
// process, and what its rules cost the connections that meet them.
//
// See bench/README.md. It needs root, makes network namespaces and touches nothing outside of
// them. Figures go to the standard output as Markdown, what happens to standard error.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicemesh/sluice/bench/figure"
	"github.com/sluicemesh/sluice/bench/machine"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "interception:", err)
		return 1
	}
	return 0
}

// plan is how much is measured.
type plan struct {
	rounds, connections, trips int
	backends, modes            []string
	program                    string // empty to build it
	quiet                      int    // percent
}

func command() *cobra.Command {
	var p plan
	root := &cobra.Command{
		Use: "interception", Short: "Take the figures of the interception rules", Args: cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.measure(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := root.Flags()
	flags.IntVar(&p.rounds, "rounds", 20, "rounds that count, everything in turn in each; one more goes before")
	flags.IntVar(&p.connections, "connections", 500, "connections of one sample; 0 leaves the cost of connections out")
	flags.IntVar(&p.trips, "trips", 2000, "round trips of one sample")
	flags.StringSliceVar(&p.backends, "backends", backendNames(), "what writes the rules")
	flags.StringSliceVar(&p.modes, "modes", modeNames(), "what for; connections are measured with default and tproxy")
	flags.StringVar(&p.program, "program", "", "sluice-init to measure; built from the working directory's module if empty")
	flags.IntVar(&p.quiet, "quiet", 0, "wait before each round until the machine is at most so many percent busy; 0 does not wait")
	return root
}

func (p plan) check() error {
	if p.rounds < 1 || p.connections < 0 || p.trips < 1 || p.quiet < 0 {
		return errors.New("--rounds and --trips must be at least 1, --connections and --quiet not negative")
	}
	for _, list := range []struct {
		flag         string
		given, there []string
	}{{"--backends", p.backends, backendNames()}, {"--modes", p.modes, modeNames()}} {
		if len(list.given) == 0 {
			return fmt.Errorf("%s is empty", list.flag)
		}
		for _, name := range list.given {
			if !slices.Contains(list.there, name) {
				return fmt.Errorf("%s has %q: there are %v", list.flag, name, list.there)
			}
		}
	}
	if os.Geteuid() != 0 {
		return errors.New("network namespaces are made: run it as root")
	}
	return nil
}

// measure takes all figures.
func (p plan) measure(ctx context.Context, out, log io.Writer) (err error) {
	if err := p.check(); err != nil {
		return err
	}
	facts, err := machine.Read("/proc")
	if err != nil {
		return err
	}
	before, err := machine.ReadLoad("/proc")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "interception-")
	if err != nil {
		return fmt.Errorf("make a folder for programs: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	tools, err := prepare(ctx, dir, p.program)
	if err != nil {
		return err
	}
	s := session{plan: p, tools: tools, log: log, quiet: &machine.Quiet{
		Read: func() (machine.Load, error) { return machine.ReadLoad("/proc") }, Below: float64(p.quiet) / 100,
	}}
	var tables []figure.Table
	for _, take := range []func(context.Context) ([]figure.Table, error){s.starts, s.costs} {
		more, err := take(ctx)
		if err != nil {
			return err
		}
		tables = append(tables, more...)
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

// session is what a run works with.
type session struct {
	plan
	tools tools
	log   io.Writer
	quiet *machine.Quiet
}

// each calls fn for the round that does not count, 0, and those that do.
func (s *session) each(ctx context.Context, what string, fn func(round int) error) error {
	for round := range s.rounds + 1 {
		fmt.Fprintf(s.log, "interception: %s, round %d of %d\n", what, round, s.rounds)
		if err := errors.Join(ctx.Err(), s.quiet.Wait(ctx)); err != nil {
			return err
		}
		if err := fn(round); err != nil {
			return err
		}
	}
	return nil
}

// turned is list with another element first in each round, so that none always follows the
// same one.
func turned[T any](list []T, round int) []T {
	k := round % len(list)
	return slices.Concat(list[k:], list[:k])
}
