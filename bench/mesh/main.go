// Command mesh takes the figures of a mesh on a real cluster and prints them as Markdown.
//
// See bench/README.md. Figures go to the standard output, what happens to standard error.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sluicemesh/sluice/bench/scene"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s := session{out: os.Stdout, scene: scene.Config{Kubeconfig: os.Getenv("KUBECONFIG"), Log: os.Stderr}}
	if err := command(&s).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "mesh:", err)
		return 1
	}
	return 0
}

func command(s *session) *cobra.Command {
	root := &cobra.Command{
		Use: "mesh", Short: "Take the figures of a mesh on a real cluster",
		SilenceUsage: true, SilenceErrors: true,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&s.scene.Name, "name", "sluice-bench", "cluster to make and use when KUBECONFIG is not set")
	flags.StringVar(&s.scene.Image, "image", scene.DefaultImage, "image of the pods that are made; needs a shell and sleep")
	flags.IntVar(&s.rounds, "rounds", 10, "pods of each kind that are timed")
	flags.IntVar(&s.changes, "changes", 200, "changes of endpoints that are timed")
	flags.IntVar(&s.services, "services", 0, "further Services in the mesh for memory and change")
	flags.IntVar(&s.endpoints, "endpoints", 2, "endpoints of each of these")
	flags.IntVar(&s.quiet, "quiet", 0, "wait before samples until the machine is at most so many percent busy; 0 does not wait")
	for _, c := range []struct {
		use, short string
		run        func(context.Context) error
	}{
		{"up", "Make the cluster and install the mesh", s.up},
		{"all", "Take all figures of the cluster", s.all},
		{"startup", "Time pods from created to ready, with their injection and their rules", s.startup},
		{"proxy", "Memory of the mesh's programs, and endpoint changes at a client's Envoy", s.proxy},
		{"lines", "Count lines of Go per folder of the working directory", s.lines},
		{"down", "Remove the cluster", s.down},
	} {
		root.AddCommand(&cobra.Command{
			Use: c.use, Short: c.short, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
		})
	}
	return root
}
