package dns

import (
	"context"
	"errors"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluicemesh/sluice/agent/backoff"
)

// idle is how long a client may leave a TCP connection unused, or not read from it.
const idle = 10 * time.Second

// streams accepts TCP connections until ctx is done, and waits for those that are open.
func (s *server) streams(ctx context.Context, l net.Listener) error {
	var open errgroup.Group
	open.SetLimit(maxConnections)
	wait := backoff.Backoff{Min: 5 * time.Millisecond, Max: time.Second}
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			if err == nil {
				_ = conn.Close()
			}
			return open.Wait()
		}
		if err != nil { // no file descriptor left, or the client is gone already
			s.Log.Warn("dns connection not accepted", "error", err)
			wait.Sleep(ctx)
			continue
		}
		wait.Reset()
		open.Go(func() error { s.stream(ctx, conn); return nil })
	}
}

// stream answers the queries of one connection in their order.
func (s *server) stream(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	for {
		if conn.SetDeadline(time.Now().Add(idle)) != nil {
			return
		}
		in, err := readStream(conn)
		if err != nil {
			return // the client is done, or talks no DNS
		}
		var msg []byte
		switch q, act := s.read(in, false); act {
		case answer:
			msg = s.answer(nil, q)
		case fail:
			msg = failure(nil, q)
		case forward:
			msg = s.forward(ctx, q)
		case drop:
			return
		}
		if conn.SetDeadline(time.Now().Add(idle)) != nil || writeStream(conn, msg) != nil {
			return
		}
	}
}
