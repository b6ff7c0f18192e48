package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds one call of a socket; reached only where packets are lost.
const patience = 2 * time.Second

// Processes, as rules tell them apart.
const (
	appID   = 1000
	proxyID = 1337
)

// listen opens a listener in the calling thread's namespace. It also takes connections that
// were meant for other hosts, which mode TPROXY hands it.
func listen(at netip.AddrPort) (int, error) {
	fd, err := socket()
	if err != nil {
		return -1, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1),
		unix.Bind(fd, address(at)),
		unix.Listen(fd, 128),
	)
	if err != nil {
		return -1, errors.Join(fmt.Errorf("listen at %s: %w", at, err), unix.Close(fd))
	}
	return fd, nil
}

// socket is a blocking one that gives up in the end, and leaves no connection in TIME_WAIT.
func socket() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	limit := unix.NsecToTimeval(int64(patience))
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit),
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
	)
	if err != nil {
		return -1, errors.Join(fmt.Errorf("set up socket: %w", err), unix.Close(fd))
	}
	return fd, nil
}

func address(a netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}

// become makes the calling thread's new sockets belong to a user. The thread must end.
func become(id int) error {
	for call, name := range map[uintptr]string{unix.SYS_SETFSGID: "group", unix.SYS_SETFSUID: "user"} {
		// The calls answer with the old value and never with an error; asking again shows
		// what is in force.
		_, _, _ = unix.RawSyscall(call, uintptr(id), 0, 0)
		if got, _, _ := unix.RawSyscall(call, uintptr(id), 0, 0); int(got) != id {
			return fmt.Errorf("become %s %d: still %d", name, id, got)
		}
	}
	return nil
}

// pin keeps the calling thread on the first core that it may use, so that both ends and the
// kernel between them take turns instead of waking each other.
func pin() error {
	var may, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return fmt.Errorf("pin to a core: %w", err)
	}
	for core := range 1024 {
		if may.IsSet(core) {
			one.Set(core)
			break
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("pin to a core: %w", err)
	}
	return nil
}

// pair is a connection, both ends in one hand.
type pair struct{ client, server int }

func (p pair) close() error {
	return errors.Join(unix.Close(p.client), unix.Close(p.server))
}

// connect makes a connection that must arrive at a listener.
func connect(to netip.AddrPort, listener int) (pair, error) {
	client, err := socket()
	if err != nil {
		return pair{}, err
	}
	if err := unix.Connect(client, address(to)); err != nil {
		return pair{}, errors.Join(fmt.Errorf("connect to %s: %w", to, err), unix.Close(client))
	}
	server, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return pair{}, errors.Join(fmt.Errorf("the connection to %s did not arrive: %w", to, err), unix.Close(client))
	}
	return pair{client, server}, nil
}

// connections is the time of one connection, made, accepted and closed, of n.
func connections(to netip.AddrPort, listener, n int) (time.Duration, error) {
	start := time.Now()
	for range n {
		p, err := connect(to, listener)
		if err != nil {
			return 0, err
		}
		if err := p.close(); err != nil {
			return 0, fmt.Errorf("close: %w", err)
		}
	}
	return time.Since(start) / time.Duration(n), nil
}

// roundTrips is the time of one byte there and one back, of n.
func roundTrips(to netip.AddrPort, listener, n int) (each time.Duration, err error) {
	p, err := connect(to, listener)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := unix.SetsockoptInt(p.server, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return 0, err
	}
	buf := make([]byte, 1)
	start := time.Now()
	for range n {
		for _, hop := range [][2]int{{p.client, p.server}, {p.server, p.client}} {
			if _, err := unix.Write(hop[0], buf); err != nil {
				return 0, fmt.Errorf("send: %w", err)
			}
			if got, err := unix.Read(hop[1], buf); err != nil || got != 1 {
				return 0, fmt.Errorf("receive %d of 1 byte: %w", got, err)
			}
		}
	}
	return time.Since(start) / time.Duration(n), nil
}
