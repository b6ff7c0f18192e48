package netlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netns"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// server is a listener in both families.
type server struct {
	port        uint16
	owner       Owner // of its sockets
	transparent bool  // it takes connections to addresses that are not of its host
	handle      func(*net.TCPConn)
}

// ServeProxy listens as the proxy does, on the given ports of the pod: transparently, as
// root with the proxy's group.
func (l *Lab) ServeProxy(t testing.TB, ports ...uint16) {
	t.Helper()
	for _, p := range ports {
		serve(t, l.Pod, server{port: p, owner: root1337, transparent: true, handle: answer(fmt.Sprint(p))})
	}
}

// RelayInbound listens on a port of the pod as the inbound listener of mode TPROXY does:
// it passes each connection on to where it was going, from the client's address and with a
// packet mark.
func (l *Lab) RelayInbound(t testing.TB, port uint16, mark int) {
	t.Helper()
	serve(t, l.Pod, server{port: port, owner: root1337, transparent: true, handle: func(conn *net.TCPConn) {
		// A failure shows at the client, which gets no answer.
		_ = relay(l.Pod, conn, mark)
	}})
}

// root1337 is what the proxy runs as in mode TPROXY.
var root1337 = Owner{UID: 0, GID: 1337}

func relay(ns netns.NsHandle, conn *net.TCPConn, mark int) error {
	client, target := conn.RemoteAddr().(*net.TCPAddr).AddrPort(), conn.LocalAddr().(*net.TCPAddr).AddrPort()
	return In(ns, func() error {
		file, err := connect(connection{owner: root1337, from: client.Addr().Unmap(), mark: mark}, target)
		if err != nil {
			return err
		}
		_, err = io.Copy(conn, file)
		return errors.Join(err, file.Close())
	})
}

// take makes the calling thread an owner, in the kernel's eyes, of the sockets it makes.
func (o Owner) take() error {
	if err := unix.Setfsgid(o.GID); err != nil {
		return err
	}
	return unix.Setfsuid(o.UID)
}

// serve handles connections, one at a time in each family, until the test ends.
func serve(t testing.TB, ns netns.NsHandle, s server) {
	t.Helper()
	for _, network := range []string{"tcp4", "tcp6"} {
		var listener net.Listener
		must(t, In(ns, func() (err error) {
			if err := s.owner.take(); err != nil {
				return err
			}
			config := net.ListenConfig{Control: s.control}
			listener, err = config.Listen(context.Background(), network, fmt.Sprintf(":%d", s.port))
			return err
		}))
		var g errgroup.Group
		g.Go(func() error { return s.accept(listener) })
		t.Cleanup(func() {
			must(t, listener.Close())
			must(t, g.Wait())
		})
	}
}

// accept takes connections on a thread of its own: they belong to whom accepts them.
func (s server) accept(listener net.Listener) error {
	runtime.LockOSThread() // never undone: the thread ends with the goroutine
	if err := s.owner.take(); err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		s.handle(conn.(*net.TCPConn))
		_ = conn.Close() // the client has what it wants, or has given up
	}
}

func (s server) control(network, _ string, raw syscall.RawConn) error {
	if !s.transparent {
		return nil
	}
	var failed error
	err := raw.Control(func(fd uintptr) { failed = transparent(int(fd), network == "tcp6") })
	return errors.Join(err, failed)
}

func transparent(fd int, ipv6 bool) error {
	if ipv6 {
		return unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1)
	}
	return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1)
}

// connection is what a client asks of its socket.
type connection struct {
	owner Owner
	from  netip.Addr // may be the zero Addr
	mark  int        // packet mark; not 0: from need not be an address of the host
}
