package nft_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/apply/nft"
	"github.com/sluicemesh/sluice/initcontainer/netlab"
)

// TestRepeatedAttemptIsCaptured: attempts to connect that the proxy has no room for in mode
// TPROXY are repeated when the mode is REDIRECT. They do not reach the application.
func TestRepeatedAttemptIsCaptured(t *testing.T) {
	const attempts = 4
	lab := netlab.New(t, true)
	lab.Serve(t, []uint16{8080}, nil)
	redirect, divert := variants()[0], variants()[1]
	k := &nft.Kernel{}
	var full int // the socket of a proxy that takes one connection, and then no more
	must(t, netlab.In(lab.Pod, func() (err error) {
		if err := routeMarked(); err != nil {
			return err
		}
		if full, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return errors.Join(unix.SetsockoptInt(full, unix.SOL_IP, unix.IP_TRANSPARENT, 1),
			unix.Bind(full, &unix.SockaddrInet4{Port: 15006}), unix.Listen(full, 0), k.Swap(t.Context(), nil, divert))
	}))
	fds := dialAll(t, lab, attempts)
	until(t, "the pod has seen all attempts", func() bool {
		n := 0
		must(t, netlab.In(lab.Pod, func() error {
			flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
			n = len(flows)
			return err
		}))
		return n == attempts
	})
	must(t, netlab.In(lab.Pod, func() error { return k.Swap(t.Context(), divert, redirect) }))
	must(t, unix.Close(full))
	lab.ServeProxy(t, 15006)
	for _, fd := range fds[1:] { // the first had been taken
		said := make([]byte, 100)
		limit := unix.Timeval{Sec: 10}
		must(t, errors.Join(unix.SetNonblock(fd, false), unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)))
		n, err := unix.Read(fd, said)
		if got := string(said[:max(n, 0)]); err != nil || !strings.HasPrefix(got, "15006 ") {
			t.Errorf("a repeated attempt reached %q (%v), want 15006", got, err)
		}
	}
}

// dialAll begins n connections from the peer to the application, each waited for a little.
func dialAll(t *testing.T, lab *netlab.Lab, n int) (fds []int) {
	t.Helper()
	to := &unix.SockaddrInet4{Port: 8080, Addr: netip.MustParseAddr(netlab.Pod4).As4()}
	must(t, netlab.In(lab.Peer, func() error {
		for range n {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			fds = append(fds, fd)
			if err := unix.Connect(fd, to); !errors.Is(err, unix.EINPROGRESS) {
				return fmt.Errorf("connect: %w", err)
			}
		}
		return nil
	}))
	t.Cleanup(func() {
		for _, fd := range fds {
			must(t, unix.Close(fd))
		}
	})
	return fds
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until waits for a condition.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(10 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("it did not come to be that %s", what)
		}
	}
}
