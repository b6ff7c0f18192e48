// Command sluice is the user's command line, also called as kubectl-sluice.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sluicemesh/sluice/cli"
	"github.com/sluicemesh/sluice/internal/version"
)

func main() {
	// The client library's own log says nothing that the commands do not.
	ctrllog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, cli.Config{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Version: version.Version, Program: os.Args[0],
		NoColor: os.Getenv("NO_COLOR") != "",
	}, os.Args[1:])
	stop()
	os.Exit(code)
}
