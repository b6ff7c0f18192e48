// Command httpbin serves go-httpbin, unchanged, on all addresses of both families. It reads
// PORT (default 8080) from the environment. The library's own command listens on IPv4 only.
package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/mccutchen/go-httpbin/v2/httpbin"

	"github.com/sluicemesh/sluice/samples/server"
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
	log.Info("httpbin listens", "address", listener.Addr().String())
	return server.Run(ctx, listener, handler(log))
}

// handler is all of go-httpbin, with a log line for each request.
func handler(log *slog.Logger) http.Handler {
	return httpbin.New(httpbin.WithObserver(httpbin.StdLogObserver(log)))
}
