package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Addresses of a place. The remote one is beyond the pod's default route.
const (
	pod4, pod6   = "10.244.0.5", "fd00:10:244::5"
	peer4, peer6 = "10.244.0.1", "fd00:10:244::1"
	remote4      = "8.8.8.8"
)

// place is a pod's network namespace and that of a peer, joined by a pair of interfaces.
type place struct{ pod, peer netns.NsHandle }

// newPlace makes a place; without ipv6 the pod's kernel takes no such address at all.
func newPlace(ipv6 bool) (p *place, err error) {
	p = &place{netns.None(), netns.None()}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make namespaces: %w", err), p.close())
		}
	}()
	for _, ns := range []*netns.NsHandle{&p.pod, &p.peer} {
		if *ns, err = newNamespace(); err != nil {
			return nil, err
		}
	}
	err = in(p.pod, func() error {
		if !ipv6 {
			if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0); err != nil {
				return err
			}
		}
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(p.peer),
		})
	})
	if err != nil {
		return nil, err
	}
	peer, pod, gateways := []string{peer4 + "/24", peer6 + "/64"}, []string{pod4 + "/24", pod6 + "/64"}, []string{peer4, peer6}
	if !ipv6 {
		peer, pod, gateways = peer[:1], pod[:1], gateways[:1]
	}
	err = in(p.peer, func() error {
		return errors.Join(up("lo", remote4+"/32"), up("eth0", peer...))
	})
	if err != nil {
		return nil, err
	}
	return p, in(p.pod, func() error {
		if err := errors.Join(up("lo"), up("eth0", pod...)); err != nil {
			return err
		}
		for _, g := range gateways {
			if err := netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(g)}); err != nil {
				return fmt.Errorf("route to %s: %w", g, err)
			}
		}
		return nil
	})
}

// close lets go of the namespaces; the kernel removes them when nothing is in them.
func (p *place) close() error {
	var errs []error
	for _, ns := range []*netns.NsHandle{&p.pod, &p.peer} {
		if ns.IsOpen() {
			errs = append(errs, ns.Close())
		}
	}
	return errors.Join(errs...)
}

func newNamespace() (ns netns.NsHandle, err error) {
	var g errgroup.Group
	g.Go(func() (err error) {
		runtime.LockOSThread() // never undone: the thread ends with the goroutine
		ns, err = netns.New()
		return err
	})
	return ns, g.Wait()
}

// in runs fn on a thread of its own within a namespace; what fn does to the thread ends
// with it.
func in(ns netns.NsHandle, fn func() error) error {
	var g errgroup.Group
	g.Go(func() error {
		runtime.LockOSThread()
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("enter namespace: %w", err)
		}
		return fn()
	})
	return g.Wait()
}

// up brings an interface up and gives it addresses that are usable at once.
func up(name string, cidrs ...string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
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
		if err := netlink.AddrAdd(link, a); err != nil {
			return fmt.Errorf("add %s to %s: %w", cidr, name, err)
		}
	}
	return nil
}
