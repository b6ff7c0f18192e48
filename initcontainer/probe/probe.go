// Package probe finds out with connections of its own whether another program's rules
// capture traffic in this network namespace.
//
// It listens where the proxy will and connects to a port on which nothing listens; a rule
// for the proxy's calls to its own pod brings the connection to the listener. It changes
// no rule and needs no privilege, but must run as the proxy's user or group.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Config is what is tried.
type Config struct {
	Family  rule.Family
	Ports   []uint16      // of the proxy's listeners; at least one must be free
	Target  uint16        // where the connections go
	Timeout time.Duration // of all attempts together
}

// NotCaptured is the error of a namespace in which no attempt came to a listener.
type NotCaptured struct {
	Family rule.Family
	Target netip.AddrPort
	After  time.Duration
}

// Error says what was tried and what may be wrong.
func (n *NotCaptured) Error() string {
	return fmt.Sprintf("%s traffic is not captured: for %s no connection to %s came to the proxy's ports; "+
		"the CNI plugin of this node has not set up the pod (was it not ready when the pod started, or does this "+
		"container not run as the proxy's user?): the repair controller or deleting the pod starts it again",
		n.Family, n.After, n.Target)
}

// attemptEvery is the time from one attempt to the next.
const attemptEvery = time.Second

// errCaptured ends the attempts: one of them came to a listener.
var errCaptured = errors.New("captured")

// Run returns nil as soon as an attempt is captured, and a *NotCaptured if none is within
// the timeout. It returns earlier when ctx ends, or if no port is free.
func Run(ctx context.Context, c Config) error {
	from := netip.MustParseAddr("127.0.0.1")
	if c.Family == rule.IPv6 {
		from = netip.IPv6Loopback()
	}
	to := netip.AddrPortFrom(plan.ProxySource(c.Family).Addr(), c.Target)
	listeners, err := listen(ctx, from, c.Ports)
	if err != nil {
		return err
	}
	inTime, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	g, attempts := errgroup.WithContext(inTime)
	for _, l := range listeners {
		g.Go(func() error { return accept(l, c.Target) })
	}
	g.Go(func() error {
		err := attempt(attempts, from, to)
		for _, l := range listeners {
			err = errors.Join(err, l.Close())
		}
		return err
	})
	err = g.Wait()
	switch {
	case errors.Is(err, errCaptured):
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	}
	return &NotCaptured{c.Family, to, c.Timeout}
}

// listen opens those of the ports that can be: the other program's rules may already have
// a proxy behind one of them.
func listen(ctx context.Context, addr netip.Addr, ports []uint16) ([]net.Listener, error) {
	config := net.ListenConfig{Control: shared}
	var open []net.Listener
	var problems []error
	for _, port := range ports {
		l, err := config.Listen(ctx, "tcp", netip.AddrPortFrom(addr, port).String())
		if err != nil {
			problems = append(problems, err)
			continue
		}
		open = append(open, l)
	}
	if len(open) == 0 {
		return nil, fmt.Errorf("none of the proxy's ports is free: %w", errors.Join(problems...))
	}
	return open, nil
}

// shared lets a proxy that starts meanwhile listen on the same port.
func shared(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	})
	return errors.Join(err, failed)
}

// accept returns errCaptured for a connection that was going to port target, nil when the
// listener is closed.
func accept(l net.Listener, target uint16) error {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		meant, err := OriginalDestination(conn.(*net.TCPConn))
		_ = conn.Close() // nothing was sent
		if err == nil && meant.Port() == target {
			return errCaptured
		}
	}
}

// attempt connects again and again until ctx ends. Whether a connection comes about says
// nothing: that a listener gets it does.
func attempt(ctx context.Context, from netip.Addr, to netip.AddrPort) error {
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: attemptEvery}
	every := time.NewTicker(attemptEvery)
	defer every.Stop()
	for {
		if conn, err := dialer.DialContext(ctx, "tcp", to.String()); err == nil {
			_ = conn.Close() // nothing was sent
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// originalDst is SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST.
const originalDst = 80

// OriginalDestination is where a connection was going before rules in table nat changed
// it. It is an error where the kernel does not track the connection.
func OriginalDestination(conn *net.TCPConn) (netip.AddrPort, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	ipv6 := conn.LocalAddr().(*net.TCPAddr).IP.To4() == nil
	var found netip.AddrPort
	var failed error
	if err := raw.Control(func(fd uintptr) { found, failed = OriginalDestinationOf(int(fd), ipv6) }); err != nil {
		return netip.AddrPort{}, err
	}
	return found, failed
}

// OriginalDestinationOf is OriginalDestination for a socket.
func OriginalDestinationOf(fd int, ipv6 bool) (netip.AddrPort, error) {
	if !ipv6 {
		// The option's value is a sockaddr_in, of the size of this one.
		v, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, originalDst)
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("original destination: %w", err)
		}
		b := v.Multiaddr
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[2])<<8|uint16(b[3])), nil
	}
	v, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, originalDst)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("original destination: %w", err)
	}
	port := v.Addr.Port<<8 | v.Addr.Port>>8 // network order
	return netip.AddrPortFrom(netip.AddrFrom16(v.Addr.Addr), port), nil
}
