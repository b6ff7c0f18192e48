package netlab

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// patience bounds each step of a call where the call does not; reached only where packets
// are lost.
const patience = 2 * time.Second

// Call is a connection, or a datagram that wants an answer.
type Call struct {
	At    netns.NsHandle // where it is made
	Owner Owner          // of the socket
	UDP   bool
	From  netip.AddrPort // bound to; the zero value, or port 0, leaves the choice to the kernel
	To    netip.AddrPort
	Mark  int // packet mark; not 0: From need not be an address of the host
	// Patience bounds each step; 0 is long enough for a busy machine.
	Patience time.Duration
}

// Reached is where a call ended up.
type Reached struct {
	Listener string // its name, "refused", or the system's error
	Meant    string // the original destination of a connection; "" where there was none
	From     string // the address that the listener saw the call come from
	Via      string // the listener that passed the call on, "" if none
}

// Dial connects from a namespace to an address and reports who answered. from may be the
// zero Addr; owner is that of the socket. Many calls are faster with Try.
func Dial(ns netns.NsHandle, owner Owner, from netip.Addr, to netip.AddrPort) (r Reached) {
	call := Call{At: ns, Owner: owner, From: netip.AddrPortFrom(from, 0), To: to}
	err := In(ns, func() error {
		if err := owner.take(); err != nil {
			return err
		}
		r = call.make()
		return nil
	})
	if err != nil {
		return Reached{Listener: err.Error()}
	}
	return r
}

// DialFor connects as the proxy of mode TPROXY does to its application: from the address
// of a client and with a packet mark.
func (l *Lab) DialFor(client netip.Addr, mark int, to netip.AddrPort) Reached {
	return l.Try(Call{At: l.Pod, Owner: root1337, From: netip.AddrPortFrom(client, 0), Mark: mark, To: to})[0]
}

// make makes the call on the calling thread, which must be at its seat.
func (c Call) make() Reached {
	got, err := c.attempt()
	if err != nil {
		return failed(err)
	}
	return got
}

func (c Call) attempt() (Reached, error) {
	fd, err := c.open()
	if err != nil {
		return Reached{}, err
	}
	said, err := c.hear(fd)
	return reached(said), errors.Join(err, unix.Close(fd))
}

func failed(err error) Reached {
	if errors.Is(err, unix.ECONNREFUSED) {
		return Reached{Listener: "refused"}
	}
	return Reached{Listener: err.Error()}
}

// reached reads what a listener says, see answer.
func reached(said string) Reached {
	words := append(strings.Fields(said), "", "", "", "")
	for i, w := range words {
		if w == "-" {
			words[i] = ""
		}
	}
	return Reached{Listener: words[0], Meant: words[1], From: words[2], Via: words[3]}
}

// hear returns what the other end says first.
func (c Call) hear(fd int) (string, error) {
	if c.UDP {
		if err := again(func() error { _, err := unix.Write(fd, []byte("?")); return err }); err != nil {
			return "", err
		}
	}
	var said []byte
	buffer := make([]byte, 256)
	for !strings.HasSuffix(string(said), "\n") {
		n := 0
		if err := again(func() (err error) { n, err = unix.Read(fd, buffer); return err }); err != nil {
			return "", err
		}
		if n <= 0 {
			break
		}
		said = append(said, buffer[:n]...)
	}
	return string(said), nil
}

// again repeats a system call that a signal has interrupted.
func again(do func() error) error {
	for {
		if err := do(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// open makes the socket and connects it. The caller closes it.
func (c Call) open() (int, error) {
	kind := unix.SOCK_STREAM
	if c.UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family(c.To.Addr()), kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := c.connect(fd); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func (c Call) connect(fd int) error {
	limit := unix.NsecToTimeval(int64(cmp.Or(c.Patience, patience)))
	err := errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), // the same port for one call after the other
	)
	if !c.UDP {
		// Close at once and leave nothing behind: there are many.
		err = errors.Join(err, unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	}
	if c.Mark != 0 {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, c.Mark), transparent(fd, c.To.Addr()))
	}
	if err != nil {
		return err
	}
	if from := c.From; from.Addr().IsValid() || from.Port() != 0 {
		if !from.Addr().IsValid() {
			from = netip.AddrPortFrom(anywhere(c.To.Addr()), from.Port())
		}
		if err := unix.Bind(fd, sockaddr(from)); err != nil {
			return fmt.Errorf("bind: %w", err)
		}
	}
	return again(func() error { return unix.Connect(fd, sockaddr(c.To)) })
}

func family(a netip.Addr) int {
	if a.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// anywhere is the unspecified address of a's family.
func anywhere(a netip.Addr) netip.Addr {
	if a.Is6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

func transparent(fd int, a netip.Addr) error {
	if a.Is6() {
		return unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1)
	}
	return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1)
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

func addrPort(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}
