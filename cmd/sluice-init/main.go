// Command sluice-init is the program of the init container: it makes the kernel send the
// pod's traffic through the proxy, checks that, and exits. It takes the arguments and
// environment of Istio's init container and does nothing but hand them to package
// initcontainer.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer"
	"github.com/sluicemesh/sluice/initcontainer/host"
	"github.com/sluicemesh/sluice/initcontainer/probe"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

// The exit codes that controllers key on.
const (
	exitFailed   = 1   // wrong configuration, or the rules could not be applied
	exitMismatch = 126 // the kernel does not do what was asked
)

func main() { os.Exit(run()) }

func run() int {
	// Namespaces belong to threads, and threads take turns slowly: all is done on this one.
	runtime.LockOSThread()
	question, args, asked, err := initcontainer.NewQuestion(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "sluice-init: %v\n", err)
		return exitFailed
	}
	config, options, err := capture.ParseWith(args, os.Getenv, host.Names())
	var help *capture.HelpRequested
	if errors.As(err, &help) {
		fmt.Fprint(os.Stdout, help.Usage)
		return 0
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "sluice-init: %v\n", err)
		return exitFailed
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := logger(options)
	if asked {
		// The run that is asked about has said what it thinks of its settings, and where both
		// streams become one, as in a container's log, an answer for programs must stay alone.
		log = slog.New(slog.DiscardHandler)
	}
	settings := initcontainer.Config{Capture: config, Options: options, Log: log, Out: os.Stdout}
	if asked {
		return answer(ctx, settings, question)
	}
	err = initcontainer.Run(ctx, settings)
	var mismatch *verify.Mismatch
	var disproof *verify.Disproof
	var leak *probe.NotCaptured
	switch {
	case errors.As(err, &mismatch), errors.As(err, &disproof), errors.As(err, &leak):
		log.Error("interception is not in force", "error", err)
		return exitMismatch
	case err != nil:
		log.Error("interception could not be set up", "error", err)
		return exitFailed
	}
	return 0
}

// answer prints what is asked about the rules in force.
func answer(ctx context.Context, c initcontainer.Config, q initcontainer.Question) int {
	well, err := initcontainer.Answer(ctx, c, q)
	if err != nil {
		fmt.Fprintf(os.Stderr, "sluice-init: %s: %v\n", q.Verb, err)
		return exitFailed
	}
	if !well {
		return exitMismatch
	}
	return 0
}

// logger writes to standard output, where kubectl logs shows it; what prints rules keeps
// that for them.
func logger(o capture.Options) *slog.Logger {
	out := os.Stdout
	if o.DryRun || o.Explain || o.LogTarget == "stderr" {
		out = os.Stderr
	}
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "warn": slog.LevelWarn, "error": slog.LevelError, "none": slog.LevelError + 1}
	ho := &slog.HandlerOptions{Level: levels[o.LogLevel]}
	if o.LogJSON {
		return slog.New(slog.NewJSONHandler(out, ho))
	}
	return slog.New(slog.NewTextHandler(out, ho))
}
