// Command httpbin serves go-httpbin, unchanged, on all addresses of both families. It reads
// PORT (default 8080) from the environment. The library's own command listens on IPv4 only.
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

	"github.com/mccutchen/go-httpbin/v2/httpbin"
)

const (
	headerTimeout = 10 * time.Second
	drainTimeout  = 20 * time.Second // less than a pod's default grace period of 30 s
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, log, os.Getenv("PORT")); err != nil {
		log.Error("httpbin ends", "error", err)
		stop()
		os.Exit(1)
	}
}

// run serves until ctx is done and the open requests are answered.
func run(ctx context.Context, log *slog.Logger, port string) error {
	if port == "" {
		port = "8080"
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("", port))
	if err != nil {
		return err
	}
	app := httpbin.New(httpbin.WithObserver(httpbin.StdLogObserver(log)))
	server := &http.Server{Handler: app, ReadHeaderTimeout: headerTimeout}
	log.Info("httpbin listens", "address", listener.Addr().String())

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
