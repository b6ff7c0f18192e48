package netlab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netns"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// patience bounds one connection of a test, in seconds; reached only on failure.
const patience = 5

// originalDst is SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST: where a connection was going
// before nat changed it.
const originalDst = 80

// Serve listens on the given ports of the pod and, as "remote", on those of the peer, in
// both families, until the test ends.
func (l *Lab) Serve(t testing.TB, podPorts, peerPorts []uint16) {
	t.Helper()
	for _, p := range podPorts {
		serve(t, l.Pod, p, strconv.Itoa(int(p)))
	}
	for _, p := range peerPorts {
		serve(t, l.Peer, p, "remote")
	}
}

// serve answers each connection with the listener's name and the address it was meant for.
func serve(t testing.TB, ns netns.NsHandle, port uint16, name string) {
	t.Helper()
	for _, network := range []string{"tcp4", "tcp6"} {
		var listener net.Listener
		must(t, In(ns, func() (err error) {
			listener, err = net.Listen(network, fmt.Sprintf(":%d", port))
			return err
		}))
		var g errgroup.Group
		g.Go(func() error { return answer(listener, name) })
		t.Cleanup(func() {
			must(t, listener.Close())
			must(t, g.Wait())
		})
	}
}

func answer(listener net.Listener, name string) error {
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		// A client that has given up is the client's failure.
		_, _ = fmt.Fprintf(conn, "%s %s", name, meantFor(conn.(*net.TCPConn)))
		_ = conn.Close()
	}
}

// meantFor is the original destination of a connection, as text, or why there is none.
func meantFor(conn *net.TCPConn) string {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err.Error()
	}
	text := ""
	read := func(fd uintptr) {
		if conn.LocalAddr().(*net.TCPAddr).IP.To4() != nil {
			// The option's value is a sockaddr_in, of the size of this one.
			v, err := unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, originalDst)
			if err != nil {
				text = err.Error()
				return
			}
			b := v.Multiaddr
			text = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[2])<<8|uint16(b[3])).String()
			return
		}
		v, err := unix.GetsockoptIPv6MTUInfo(int(fd), unix.SOL_IPV6, originalDst)
		if err != nil {
			text = err.Error()
			return
		}
		port := v.Addr.Port<<8 | v.Addr.Port>>8 // network order
		text = netip.AddrPortFrom(netip.AddrFrom16(v.Addr.Addr), port).String()
	}
	if err := raw.Control(read); err != nil {
		return err.Error()
	}
	return text
}

// Owner is whom the kernel takes a socket to belong to.
type Owner struct{ UID, GID int }

// Reached is where a connection ended up.
type Reached struct {
	Listener string // port in the pod, "remote", "refused", or the system's error
	Meant    string // the original destination, "" where there was no connection
}

// Dial connects from a namespace to an address and reports who answered. from may be the
// zero Addr; owner is that of the socket.
func Dial(ns netns.NsHandle, owner Owner, from netip.Addr, to netip.AddrPort) Reached {
	var r Reached
	err := In(ns, func() (err error) {
		r, err = dial(owner, from, to)
		return err
	})
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return Reached{Listener: "refused"}
	case err != nil:
		return Reached{Listener: err.Error()}
	}
	return r
}

// dial works with plain system calls, because the owner of a socket is that of the thread
// which makes it.
func dial(owner Owner, from netip.Addr, to netip.AddrPort) (r Reached, err error) {
	if err := unix.Setfsgid(owner.GID); err != nil {
		return r, err
	}
	if err := unix.Setfsuid(owner.UID); err != nil {
		return r, err
	}
	family := unix.AF_INET
	if to.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return r, err
	}
	file := os.NewFile(uintptr(fd), "connection")
	defer func() { err = errors.Join(err, file.Close()) }()
	limit := unix.Timeval{Sec: patience}
	for _, option := range []int{unix.SO_SNDTIMEO, unix.SO_RCVTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &limit); err != nil {
			return r, err
		}
	}
	if from.IsValid() {
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0))); err != nil {
			return r, fmt.Errorf("bind: %w", err)
		}
	}
	if err := unix.Connect(fd, sockaddr(to)); err != nil {
		return r, err
	}
	said, err := io.ReadAll(file)
	if err != nil {
		return r, err
	}
	r.Listener, r.Meant, _ = strings.Cut(string(said), " ")
	return r, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}
