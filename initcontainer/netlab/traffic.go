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
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/probe"
)

// patience bounds one connection of a test, in seconds; reached only where packets are lost.
const patience = 3

// Serve listens on the given ports of the pod and, as "remote", on those of the peer, in
// both families, until the test ends.
func (l *Lab) Serve(t testing.TB, podPorts, peerPorts []uint16) {
	t.Helper()
	for _, p := range podPorts {
		serve(t, l.Pod, server{port: p, handle: answer(strconv.Itoa(int(p)))})
	}
	for _, p := range peerPorts {
		serve(t, l.Peer, server{port: p, handle: answer("remote")})
	}
}

// answer says the listener's name, the address that the connection was meant for, and the
// one it came from.
func answer(name string) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		from := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		// A client that has given up is the client's failure.
		_, _ = fmt.Fprintf(conn, "%s %s %s", name, meantFor(conn), from)
	}
}

// meantFor is the original destination of a connection, as text, or why there is none.
func meantFor(conn *net.TCPConn) string {
	addr, err := probe.OriginalDestination(conn)
	if err != nil {
		return strings.ReplaceAll(err.Error(), " ", "-")
	}
	return addr.String()
}

// Owner is whom the kernel takes a socket to belong to.
type Owner struct{ UID, GID int }

// Reached is where a connection ended up.
type Reached struct {
	Listener string // port in the pod, "remote", "refused", or the system's error
	Meant    string // the original destination, "" where there was no connection
	From     string // the address that the listener saw the connection come from
}

// Dial connects from a namespace to an address and reports who answered. from may be the
// zero Addr; owner is that of the socket.
func Dial(ns netns.NsHandle, owner Owner, from netip.Addr, to netip.AddrPort) Reached {
	return dial(ns, connection{owner: owner, from: from}, to)
}

// DialFor connects as the proxy of mode TPROXY does to its application: from the address
// of a client and with a packet mark.
func (l *Lab) DialFor(client netip.Addr, mark int, to netip.AddrPort) Reached {
	return dial(l.Pod, connection{owner: root1337, from: client, mark: mark}, to)
}

func dial(ns netns.NsHandle, c connection, to netip.AddrPort) (r Reached) {
	err := In(ns, func() error {
		file, err := connect(c, to)
		if err != nil {
			return err
		}
		said, err := io.ReadAll(file)
		words := append(strings.Fields(string(said)), "", "", "")
		r = Reached{Listener: words[0], Meant: words[1], From: words[2]}
		return errors.Join(err, file.Close())
	})
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return Reached{Listener: "refused"}
	case err != nil:
		return Reached{Listener: err.Error()}
	}
	return r
}

// connect works with plain system calls, because the owner of a socket is that of the
// thread which makes it. The caller closes the file.
func connect(c connection, to netip.AddrPort) (*os.File, error) {
	if err := c.owner.take(); err != nil {
		return nil, err
	}
	family := unix.AF_INET
	if to.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "connection")
	if err := prepare(fd, c, to); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// prepare sets what c asks for and connects.
func prepare(fd int, c connection, to netip.AddrPort) error {
	limit := unix.Timeval{Sec: patience}
	for _, option := range []int{unix.SO_SNDTIMEO, unix.SO_RCVTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &limit); err != nil {
			return err
		}
	}
	if c.mark != 0 {
		if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, c.mark), transparent(fd, to.Addr().Is6())); err != nil {
			return err
		}
	}
	if c.from.IsValid() {
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(c.from, 0))); err != nil {
			return fmt.Errorf("bind: %w", err)
		}
	}
	return unix.Connect(fd, sockaddr(to))
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}
