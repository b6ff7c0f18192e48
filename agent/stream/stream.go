// Package stream lets the handler of a gRPC server stream wait for messages and for other
// events at the same time.
package stream

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
)

// Readers are the goroutines that receive for the streams of one server. Recv returns
// only when the client goes away or the handler has returned, so they are waited for by
// the server and not by the handler. The zero value is ready.
type Readers struct{ group errgroup.Group }

// Receive passes the messages of recv to the returned channel until ctx is done. When
// recv fails, cancel is called with its error.
func Receive[T any](ctx context.Context, r *Readers, recv func() (T, error), cancel context.CancelCauseFunc) <-chan T {
	out := make(chan T)
	r.group.Go(func() error {
		for {
			msg, err := recv()
			if err != nil {
				cancel(err)
				return nil
			}
			select {
			case out <- msg:
			case <-ctx.Done():
				return nil
			}
		}
	})
	return out
}

// Serve runs srv on lis until ctx is done, cuts its streams and returns nil when all their
// readers have ended. It returns an error only if serving failed before.
func Serve(ctx context.Context, srv *grpc.Server, lis net.Listener, r *Readers) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := srv.Serve(lis); err != nil && ctx.Err() == nil {
			return fmt.Errorf("serve %s: %w", lis.Addr(), err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		srv.Stop()
		return nil
	})
	return errors.Join(g.Wait(), r.group.Wait())
}
