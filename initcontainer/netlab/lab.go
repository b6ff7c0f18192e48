// Package netlab gives tests a pod's network namespace with a peer beside it, sockets of
// any owner, and listeners that tell which of them a connection reached.
//
// Only tests import it. It needs root, and touches nothing but the namespaces it makes.
package netlab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// The addresses of a lab. Remote ones are on the peer, beyond the pod's default route.
const (
	Pod4     = "10.244.0.5"
	Pod6     = "fd00:10:244::5"
	Peer4    = "10.244.0.1"
	Peer6    = "fd00:10:244::1"
	Remote4  = "8.8.8.8"
	Remote6  = "2001:4860:4860::8888"
	Another4 = "9.9.9.9"
	Another6 = "2620:fe::9"
)

// The addresses of a further link of the pod, see Attach.
const (
	Link4  = "10.88.0.1" // the pod's
	Link6  = "fd00:88::1"
	Guest4 = "10.88.0.2" // of whom it leads to
	Guest6 = "fd00:88::2"
)

// Lab is two network namespaces joined by a pair of interfaces.
type Lab struct {
	Pod, Peer netns.NsHandle

	mu      sync.Mutex
	threads map[seat]*thread
	group   errgroup.Group // of the threads
}

// New makes a lab that lives as long as the test. Without ipv6 the pod's only addresses of
// that family are loopback and link-local ones.
func New(t testing.TB, ipv6 bool) *Lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root")
	}
	l := &Lab{Pod: newNamespace(t), Peer: newNamespace(t), threads: map[seat]*thread{}}
	t.Cleanup(func() { must(t, l.stop()) })
	must(t, In(l.Pod, func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(l.Peer),
		})
	}))
	must(t, In(l.Peer, func() error {
		if err := address("eth0", Peer4+"/24", Peer6+"/64"); err != nil {
			return err
		}
		return address("lo", Remote4+"/32", Another4+"/32", Remote6+"/128", Another6+"/128")
	}))
	must(t, In(l.Pod, func() error {
		if err := address("lo"); err != nil {
			return err
		}
		if !ipv6 {
			return l.podRoutes(Pod4+"/24", Peer4)
		}
		if err := l.podRoutes(Pod4+"/24", Peer4); err != nil {
			return err
		}
		return l.podRoutes(Pod6+"/64", Peer6)
	}))
	return l
}

// Attach gives a pod with IPv6 a further interface and returns the namespace it leads to:
// a second network, or a guest, such as a virtual machine, for which the pod is the router.
// On the given ports it answers as "guest".
func (l *Lab) Attach(t testing.TB, name string, ports ...uint16) netns.NsHandle {
	t.Helper()
	guest := newNamespace(t)
	must(t, In(l.Pod, func() error {
		err := netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "eth0", PeerNamespace: netlink.NsFd(guest),
		})
		if err != nil {
			return err
		}
		for _, file := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
			if err := os.WriteFile("/proc/sys/net/"+file, []byte("1"), 0); err != nil {
				return err
			}
		}
		return address(name, Link4+"/24", Link6+"/64")
	}))
	must(t, In(guest, func() error {
		if err := address("eth0", Guest4+"/24", Guest6+"/64"); err != nil {
			return err
		}
		return errors.Join(route("", Link4), route("", Link6))
	}))
	must(t, In(l.Peer, func() error {
		return errors.Join(route(Guest4+"/32", Pod4), route(Guest6+"/128", Pod6))
	}))
	for _, p := range ports {
		Listen(t, Listener{At: guest, Name: "guest", Port: p})
	}
	return guest
}

// RouteToPod makes the peer send to these ranges through the pod.
func (l *Lab) RouteToPod(t testing.TB, cidr4, cidr6 string) {
	t.Helper()
	must(t, In(l.Peer, func() error { return errors.Join(route(cidr4, Pod4), route(cidr6, Pod6)) }))
}

// route sends a range, everything if empty, to a gateway.
func route(cidr, gateway string) error {
	r := netlink.Route{Gw: net.ParseIP(gateway)}
	if cidr != "" {
		_, dst, err := net.ParseCIDR(cidr)
		if err != nil {
			return err
		}
		r.Dst = dst
	}
	return netlink.RouteAdd(&r)
}

// podRoutes gives the pod an address and a default route.
func (l *Lab) podRoutes(addr, gateway string) error {
	if err := address("eth0", addr); err != nil {
		return err
	}
	return route("", gateway)
}

// In runs fn on a thread of its own within a namespace and returns its error. fn must not
// end the test itself.
func In(ns netns.NsHandle, fn func() error) error {
	var g errgroup.Group
	g.Go(func() error {
		runtime.LockOSThread() // never undone: the thread ends with the goroutine
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("enter namespace: %w", err)
		}
		return fn()
	})
	return g.Wait()
}

// Output runs a program in the pod and returns its standard output; it must succeed.
func (l *Lab) Output(t testing.TB, name string, args ...string) string {
	t.Helper()
	var out []byte
	err := In(l.Pod, func() (err error) {
		out, err = exec.Command(name, args...).Output()
		return err
	})
	if err != nil {
		t.Fatalf("%s %q: %v", name, args, err)
	}
	return string(out)
}

// DropAddress takes an address off the pod's interface.
func (l *Lab) DropAddress(t testing.TB, cidr string) {
	t.Helper()
	must(t, In(l.Pod, func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		a, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		return netlink.AddrDel(link, a)
	}))
}

// DisableIPv6 switches IPv6 off in the pod, as clusters without it do.
func (l *Lab) DisableIPv6(t testing.TB) {
	t.Helper()
	must(t, In(l.Pod, func() error {
		return os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0)
	}))
}

// FakePrograms makes dir/iptables-nft and its relatives for both families and flavours:
// the shell script body, in which $REAL is the program that is stood in for. Programs that
// except accepts are left out. The caller puts dir in front of PATH, or in place of it.
func FakePrograms(t testing.TB, body string, except func(name string) bool) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, family := range []string{"iptables", "ip6tables"} {
		for _, flavour := range []string{"", "-nft", "-legacy"} {
			for _, verb := range []string{"", "-save", "-restore"} {
				name := family + flavour + verb
				if except != nil && except(name) {
					continue
				}
				realPath, err := exec.LookPath(name)
				if err != nil {
					t.Fatalf("%v: install the package iptables", err)
				}
				script := fmt.Sprintf("#!/bin/sh\nREAL=%s\n%s\n", realPath, body)
				must(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755))
			}
		}
	}
	return dir
}

func newNamespace(t testing.TB) netns.NsHandle {
	t.Helper()
	ns := netns.None()
	var g errgroup.Group
	g.Go(func() (err error) {
		runtime.LockOSThread()
		ns, err = netns.New()
		return err
	})
	must(t, g.Wait())
	t.Cleanup(func() { must(t, ns.Close()) })
	return ns
}

// address brings an interface up and gives it addresses that are usable at once.
func address(link string, cidrs ...string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	// Else the link-local address cannot be used for a second or two, nor any neighbour found.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+link+"/accept_dad", []byte("0"), 0); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return err
	}
	for _, cidr := range cidrs {
		a, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		if a.IP.To4() == nil {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(l, a); err != nil {
			return fmt.Errorf("add %s to %s: %w", cidr, link, err)
		}
	}
	return nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ForgetConnections empties the pod's table of tracked connections.
func (l *Lab) ForgetConnections(t testing.TB) {
	t.Helper()
	must(t, In(l.Pod, func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) }))
}
