package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netns"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/probe"
)

// Listener takes TCP connections and UDP datagrams on a port, in both families, and tells
// the caller about itself. Connections stay until the caller ends them; what is said on
// them is said back.
type Listener struct {
	At          netns.NsHandle
	Name        string // one word
	Port        uint16
	Addrs       []netip.Addr // nil for every address of the host
	Owner       Owner        // of its sockets
	Transparent bool         // it takes connections to addresses that are not of its host
	// Pass, if not nil, says what call to make for one from client that was meant for target
	// (for UDP: arrived at it); the caller is told what that reached. Its sockets are the Owner's.
	Pass func(client, target netip.AddrPort, udp bool) Call
}

// root1337 is what the proxy runs as in mode TPROXY.
var root1337 = Owner{UID: 0, GID: 1337}

// Serve listens on the given ports of the pod, each by its number as name, and, as
// "remote", on those of the peer, until the test ends.
func (l *Lab) Serve(t testing.TB, podPorts, peerPorts []uint16) {
	t.Helper()
	var list []Listener
	for _, p := range podPorts {
		list = append(list, Listener{At: l.Pod, Name: strconv.Itoa(int(p)), Port: p})
	}
	for _, p := range peerPorts {
		list = append(list, Listener{At: l.Peer, Name: "remote", Port: p})
	}
	Listen(t, list...)
}

// ServeProxy listens as the proxy does, on the given ports of the pod: transparently, as
// root with the proxy's group.
func (l *Lab) ServeProxy(t testing.TB, ports ...uint16) {
	t.Helper()
	var list []Listener
	for _, p := range ports {
		list = append(list, Listener{At: l.Pod, Name: strconv.Itoa(int(p)), Port: p, Owner: root1337, Transparent: true})
	}
	Listen(t, list...)
}

// RelayInbound listens on a port of the pod as the inbound listener of mode TPROXY does:
// it passes each connection on to where it was going, from the client's address and with a
// packet mark.
func (l *Lab) RelayInbound(t testing.TB, port uint16, mark int) {
	t.Helper()
	Listen(t, Listener{
		At: l.Pod, Name: strconv.Itoa(int(port)), Port: port, Owner: root1337, Transparent: true,
		Pass: func(client, target netip.AddrPort, udp bool) Call {
			return Call{From: netip.AddrPortFrom(client.Addr(), 0), To: target, Mark: mark, UDP: udp}
		},
	})
}

// Listen opens listeners that live until the test ends.
func Listen(t testing.TB, list ...Listener) {
	t.Helper()
	seats := map[seat][]Listener{}
	for _, l := range list {
		s := seat{l.At, l.Owner}
		seats[s] = append(seats[s], l)
	}
	for s, list := range seats {
		must(t, listen(t, s, list))
	}
}

// listen serves the listeners of one seat on a thread of its own. Connections belong to
// whom accepts them.
func listen(t testing.TB, at seat, list []Listener) error {
	s := server{sockets: map[int]socket{}}
	ready := make(chan error)
	var g errgroup.Group
	g.Go(func() error {
		runtime.LockOSThread() // never undone: the thread ends with the goroutine
		if err := errors.Join(at.enter(), s.open(list)); err != nil {
			ready <- err
			return nil
		}
		close(ready)
		return s.run()
	})
	if err := <-ready; err != nil {
		return err
	}
	t.Cleanup(func() {
		_, err := unix.Write(s.bell[1], []byte("."))
		must(t, errors.Join(err, g.Wait(), s.close()))
	})
	return nil
}

// server waits for all its sockets at once.
type server struct {
	epoll   int
	bell    [2]int // a pipe: what is written to the second end stops the server
	sockets map[int]socket
}

// socket is a listening one, one for datagrams, or a connection.
type socket struct {
	of   *Listener // nil for a connection
	udp  bool
	ipv6 bool
}

func (s *server) open(list []Listener) (err error) {
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if err := errors.Join(unix.Pipe2(s.bell[:], unix.O_CLOEXEC), s.watch(s.bell[0])); err != nil {
		return err
	}
	for i := range list {
		addrs := list[i].Addrs
		if addrs == nil {
			addrs = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
		}
		for _, a := range addrs {
			if err := errors.Join(s.bind(&list[i], a, false), s.bind(&list[i], a, true)); err != nil {
				return fmt.Errorf("listen on port %d: %w", list[i].Port, err)
			}
		}
	}
	return nil
}

func (s *server) watch(fd int) error {
	return unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

func (s *server) bind(of *Listener, addr netip.Addr, udp bool) error {
	kind := unix.SOCK_STREAM
	if udp {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family(addr), kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	s.sockets[fd] = socket{of: of, udp: udp, ipv6: addr.Is6()}
	var errs []error
	set := func(level, option int) { errs = append(errs, unix.SetsockoptInt(fd, level, option, 1)) }
	set(unix.SOL_SOCKET, unix.SO_REUSEADDR)
	set(unix.SOL_SOCKET, unix.SO_REUSEPORT) // beside one on every address
	if of.Transparent {
		errs = append(errs, transparent(fd, addr))
	}
	if addr.Is6() {
		set(unix.SOL_IPV6, unix.IPV6_V6ONLY)
		set(unix.SOL_IPV6, unix.IPV6_RECVPKTINFO)
	} else {
		set(unix.SOL_IP, unix.IP_PKTINFO)
	}
	errs = append(errs, unix.Bind(fd, sockaddr(netip.AddrPortFrom(addr, of.Port))))
	if !udp {
		errs = append(errs, unix.Listen(fd, unix.SOMAXCONN))
	}
	return errors.Join(append(errs, s.watch(fd))...)
}

// run answers until the bell rings.
func (s *server) run() error {
	events := make([]unix.EpollEvent, 32)
	for {
		n := 0
		err := again(func() (err error) { n, err = unix.EpollWait(s.epoll, events, -1); return err })
		if err != nil {
			return fmt.Errorf("wait for calls: %w", err)
		}
		for _, e := range events[:n] {
			fd := int(e.Fd)
			if fd == s.bell[0] {
				return nil
			}
			switch sock := s.sockets[fd]; {
			case sock.of == nil:
				s.echo(fd)
			case sock.udp:
				s.datagram(fd, sock)
			default:
				s.accept(fd, sock)
			}
		}
	}
}

func (s *server) close() error {
	errs := []error{unix.Close(s.epoll), unix.Close(s.bell[0]), unix.Close(s.bell[1])}
	for fd := range s.sockets {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(errs...)
}

// In what follows errors have no other consequence than that the caller, who may have given
// up, gets no answer, and says so.

// accept takes a connection and answers.
func (s *server) accept(listening int, sock socket) {
	fd, client, err := unix.Accept4(listening, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err != nil {
		return
	}
	local, err := unix.Getsockname(fd)
	if err == nil {
		meant := "-"
		if to, err := probe.OriginalDestinationOf(fd, sock.ipv6); err == nil {
			meant = to.String()
		}
		_, err = unix.Write(fd, answer(sock, meant, addrPort(client), addrPort(local)))
	}
	if err != nil || s.watch(fd) != nil {
		_ = unix.Close(fd)
		return
	}
	s.sockets[fd] = socket{}
}

// echo says back what came on a connection, or ends it.
func (s *server) echo(fd int) {
	buffer := make([]byte, 256)
	n, err := unix.Read(fd, buffer)
	if err == nil && n > 0 {
		_, err = unix.Write(fd, buffer[:n])
	}
	if n <= 0 || err != nil {
		delete(s.sockets, fd)
		// Not left to Close: a child process that has not yet executed its program has the
		// socket, too, and its events would be taken for those of the number's next owner.
		_ = errors.Join(unix.EpollCtl(s.epoll, unix.EPOLL_CTL_DEL, fd, nil), unix.Close(fd))
	}
}

// datagram answers one from the address that it was sent to, as a program must that serves
// several.
func (s *server) datagram(fd int, sock socket) {
	buffer, control := make([]byte, 256), make([]byte, 128)
	_, n, _, client, err := unix.Recvmsg(fd, buffer, control, 0)
	if err != nil {
		return
	}
	control = control[:n]
	local, ok := turnRound(control, sock.ipv6)
	if !ok {
		return
	}
	said := answer(sock, "-", addrPort(client), netip.AddrPortFrom(local, sock.of.Port))
	_ = unix.Sendmsg(fd, said, control, client, 0)
}

// turnRound makes of the control message of a datagram that of its answer, which leaves
// from the same address by any interface, and returns that address.
func turnRound(control []byte, ipv6 bool) (local netip.Addr, ok bool) {
	body := unix.CmsgSpace(0)
	if ipv6 && len(control) >= body+unix.SizeofInet6Pktinfo {
		info := control[body:]
		clear(info[16:20])
		return netip.AddrFrom16([16]byte(info[:16])), true
	}
	if !ipv6 && len(control) >= body+unix.SizeofInet4Pktinfo {
		info := control[body:]
		clear(info[:4])
		return netip.AddrFrom4([4]byte(info[4:8])), true
	}
	return local, false
}

// answer is the line that a caller gets: the listener's name, what the call was meant for,
// where it came from, who passed it on; "-" for what there is not.
func answer(sock socket, meant string, client, local netip.AddrPort) []byte {
	if sock.of.Pass == nil {
		return fmt.Appendf(nil, "%s %s %s -\n", sock.of.Name, meant, client.Addr())
	}
	got := sock.of.Pass(client, local, sock.udp).make()
	words := []string{got.Listener, got.Meant, got.From, sock.of.Name}
	for i, w := range words {
		words[i] = strings.ReplaceAll(w, " ", "-")
		if w == "" {
			words[i] = "-"
		}
	}
	return []byte(strings.Join(words, " ") + "\n")
}
