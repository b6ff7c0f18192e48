// Package dns answers the pod's DNS queries: names of the mesh from a table that the control
// plane sends, everything else by asking the name servers that the pod would have asked.
//
// Queries come from the application, redirected to loopback; what the agent itself asks is
// exempt from that by its user ID, so nothing loops. A query for a name that the mesh does
// not know is passed on byte for byte and so is its answer: what is in it is between the
// application and the name server. Nothing is cached. The table comes from the relay; the
// package reads no file and no environment.
package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
)

// Bounds of what a misbehaving application can take. Queries beyond them fail or wait.
const (
	maxForwards    = 1024 // under way at once
	maxConnections = 256  // over TCP
)

// Config is what Run needs.
type Config struct {
	Sockets *Sockets
	Table   *Table
	// Upstreams are the name servers for names that the mesh does not know, "ip:port".
	// Without any such queries fail.
	Upstreams []string
	// Parallel asks all of them at once and takes the first good answer; otherwise they are
	// asked one after the other in random order.
	Parallel bool
	// Timeout bounds one exchange with one of them.
	Timeout time.Duration
	// ForwardEarly passes everything on while there is no table yet. Otherwise queries fail
	// then, because a client would remember a wrong answer.
	ForwardEarly bool
	Counts       Counts
	Log          *slog.Logger
}

// Counts are told what happens. All must be set and safe for concurrent use.
type Counts struct {
	Request  func()              // a query came
	Forward  func()              // it was passed on
	Failure  func()              // one name server did not answer, or not usably
	Duration func(time.Duration) // until a forwarded query was answered or given up
}

// Sockets are the addresses that queries come to.
type Sockets struct {
	packets []*net.UDPConn
	streams []net.Listener
}

// Listen opens UDP and TCP on each address.
func Listen(ctx context.Context, addrs []netip.AddrPort) (*Sockets, error) {
	s := &Sockets{}
	var lc net.ListenConfig
	for _, a := range addrs {
		p, err := lc.ListenPacket(ctx, "udp", a.String())
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("dns: %w", err)
		}
		s.packets = append(s.packets, p.(*net.UDPConn))
		// The port of the first is the same for both where the kernel chose it.
		l, err := lc.Listen(ctx, "tcp", p.LocalAddr().String())
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("dns: %w", err)
		}
		s.streams = append(s.streams, l)
	}
	return s, nil
}

// Addrs are the addresses, in the order of Listen.
func (s *Sockets) Addrs() []netip.AddrPort {
	var out []netip.AddrPort
	for _, p := range s.packets {
		out = append(out, p.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	return out
}

// Close closes all of them. Closing again does nothing.
func (s *Sockets) Close() {
	for _, p := range s.packets {
		_ = p.Close() // nothing is written that could be lost
	}
	for _, l := range s.streams {
		_ = l.Close()
	}
}

// server is what the loops share.
type server struct {
	Config
	forwards *errgroup.Group // of queries over UDP
}

// Run answers until ctx is done and then returns nil, with queries under way dropped and the
// sockets closed. It returns the error of a socket that fails.
func Run(ctx context.Context, cfg Config) error {
	g, ctx := errgroup.WithContext(ctx)
	s := &server{Config: cfg, forwards: &errgroup.Group{}}
	s.forwards.SetLimit(maxForwards)
	for _, p := range cfg.Sockets.packets {
		g.Go(func() error { return s.packets(ctx, p) })
	}
	for _, l := range cfg.Sockets.streams {
		g.Go(func() error { return s.streams(ctx, l) })
	}
	g.Go(func() error {
		<-ctx.Done()
		cfg.Sockets.Close()
		return nil
	})
	return errors.Join(g.Wait(), s.forwards.Wait())
}

// packets answers what comes over UDP: from the table at once, the rest when the name server
// has answered.
func (s *server) packets(ctx context.Context, conn *net.UDPConn) error {
	in, out := make([]byte, maxMessage), make([]byte, 0, maxMessage)
	for {
		n, peer, err := conn.ReadFromUDPAddrPort(in)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("dns: receive: %w", err)
		}
		q, act := s.read(in[:n], true)
		switch act {
		case answer:
			s.reply(conn, peer, s.answer(out, q))
		case fail:
			s.reply(conn, peer, failure(out, q))
		case forward:
			q.raw = append([]byte(nil), q.raw...)
			if !s.forwards.TryGo(func() error { s.reply(conn, peer, s.forward(ctx, q)); return nil }) {
				s.Counts.Failure()
				s.reply(conn, peer, failure(out, q))
			}
		case drop:
		}
	}
}

// reply sends a message; one that cannot be sent is as good as lost, and the client asks again.
func (s *server) reply(conn *net.UDPConn, peer netip.AddrPort, msg []byte) {
	if _, err := conn.WriteToUDPAddrPort(msg, peer); err != nil {
		s.Log.Debug("dns answer not sent", "peer", peer, "error", err)
	}
}
