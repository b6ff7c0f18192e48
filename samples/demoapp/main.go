// Command demoapp is a small web server that says who asked and who answered, so that one sees
// where a mesh sent a request. It reads PORT (default 8080) and VERSION (default v1.0) from the
// environment, listens on all addresses of both families and ends gracefully on SIGTERM.
package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/sluicemesh/sluice/samples/server"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, log); err != nil {
		log.Error("demoapp ends", "error", err)
		stop()
		os.Exit(1)
	}
}

// run serves until ctx is done and the open requests are answered.
func run(ctx context.Context, log *slog.Logger) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	addr, err := ownAddress()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("", env("PORT", "8080")))
	if err != nil {
		return err
	}
	app := demoapp{version: env("VERSION", "v1.0"), name: name, addr: addr.String()}
	log.Info("demoapp listens", "address", listener.Addr().String(), "version", app.version)
	return server.Run(ctx, listener, app.handler())
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
