// Package server runs the web servers of the samples: it serves until told to stop and then
// answers what is open. It knows nothing of what is served, reads no environment and logs nothing.
package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

const (
	headerTimeout = 10 * time.Second
	drainTimeout  = 20 * time.Second // less than a pod's default grace period of 30 s
)

// Run serves h on l, which it closes, until ctx is done and all open requests are answered, or
// 20 s have gone by, which is an error.
func Run(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout}
	drained := make(chan error, 1)
	cancel := context.AfterFunc(ctx, func() {
		// The context that asked us to stop is done, so draining needs one of its own.
		limit, release := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer release()
		drained <- s.Shutdown(limit)
	})
	defer cancel()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-drained
}
