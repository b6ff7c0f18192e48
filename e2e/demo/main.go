// Command demo shows the mesh at work on a real cluster: "up" prepares it, sends requests and
// draws what happened to each, "down" removes it. The work is in package play.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sluicemesh/sluice/e2e/cluster"
	"github.com/sluicemesh/sluice/e2e/demo/picture"
	"github.com/sluicemesh/sluice/e2e/demo/play"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	config := play.Config{Out: os.Stdout}
	if term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "" {
		config.Palette = picture.Colours()
	}
	if err := command(&config).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	return 0
}

func command(config *play.Config) *cobra.Command {
	root := &cobra.Command{
		Use: "demo", Short: "The mesh at work on a real cluster",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&config.Cluster, "name", cluster.DefaultName, "name of the cluster")
	root.AddCommand(
		&cobra.Command{
			Use: "up", Short: "Prepare cluster and mesh, send requests, show what happened to each, leave it up", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return play.Up(cmd.Context(), *config) },
		},
		&cobra.Command{
			Use: "down", Short: "Remove the cluster", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return play.Down(cmd.Context(), *config) },
		},
	)
	return root
}
