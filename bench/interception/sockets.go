package main

import (
	"errors"
	"fmt"
	"io"
	"math"
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

// uninterrupted makes a system call again that a signal of the Go runtime has cut short;
// the kernel does not where a call has a time limit. A connect that is made again goes on.
func uninterrupted(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// all takes anything but the one byte of a round trip for an error.
func all(n int, err error) error {
	if err == nil && n != 1 {
		return io.ErrUnexpectedEOF
	}
	return err
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
	if err := uninterrupted(func() error { return unix.Connect(client, address(to)) }); err != nil {
		return pair{}, errors.Join(fmt.Errorf("connect to %s: %w", to, err), unix.Close(client))
	}
	var server int
	err = uninterrupted(func() (err error) {
		server, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
		return err
	})
	if err != nil {
		return pair{}, errors.Join(fmt.Errorf("the connection to %s did not arrive: %w", to, err), unix.Close(client))
	}
	return pair{client, server}, nil
}

// batches is into how many parts a sample is cut. The fastest counts: it is the one that was
// least disturbed by what else the machine does.
const batches = 10

// fastest calls fn n times or somewhat more, and returns the time of one call.
func fastest(n int, fn func() error) (time.Duration, error) {
	size := (n + batches - 1) / batches
	best := time.Duration(math.MaxInt64)
	for range batches {
		start := time.Now()
		for range size {
			if err := fn(); err != nil {
				return 0, err
			}
		}
		best = min(best, time.Since(start)/time.Duration(size))
	}
	return best, nil
}

// connections is the time of one connection, made, accepted and closed, of n.
func connections(to netip.AddrPort, listener, n int) (time.Duration, error) {
	return fastest(n, func() error {
		p, err := connect(to, listener)
		if err != nil {
			return err
		}
		return p.close()
	})
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
	return fastest(n, func() error {
		for _, hop := range [][2]int{{p.client, p.server}, {p.server, p.client}} {
			if err := uninterrupted(func() error { return all(unix.Write(hop[0], buf)) }); err != nil {
				return fmt.Errorf("send: %w", err)
			}
			if err := uninterrupted(func() error { return all(unix.Read(hop[1], buf)) }); err != nil {
				return fmt.Errorf("receive: %w", err)
			}
		}
		return nil
	})
}
