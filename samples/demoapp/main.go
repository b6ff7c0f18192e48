// Command demoapp is a small web server that says who asked and who answered, so that one sees
// where a mesh sent a request. It reads PORT (default 8080) and VERSION (default v1.0) from the
// environment, listens on all addresses of both families and ends gracefully on SIGTERM.
package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	headerTimeout = 10 * time.Second
	drainTimeout  = 20 * time.Second // less than a pod's default grace period of 30 s
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
	app := demoapp{version: env("VERSION", "v1.0"), name: name, addr: addr.String()}
	listener, err := net.Listen("tcp", net.JoinHostPort("", env("PORT", "8080")))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: app.handler(), ReadHeaderTimeout: headerTimeout}
	log.Info("demoapp listens", "address", listener.Addr().String(), "version", app.version)

	drained := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		// The context that asked us to stop is done, so draining needs one of its own.
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		drained <- server.Shutdown(limit)
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-drained
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
