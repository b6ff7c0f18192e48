// Package host finds out what the network namespace and the image offer: address families,
// flavours and programs of iptables, servers for DNS, names of users and groups.
//
// It runs no program and changes nothing. (Istio probes with a rule that it adds and removes;
// a namespace in use must not be changed to find out about it.) Data comes from the kernel,
// over netlink and from /proc, and from files of the image; it goes to package initcontainer.
package host

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sync/errgroup"
)

// Within runs fn on a thread in the network namespace of a file, such as one below
// /var/run/netns or /proc/PID/ns/net, and returns its error. Namespaces belong to threads:
// what fn does in other goroutines happens elsewhere. It needs capability SYS_ADMIN.
func Within(file string, fn func() error) error {
	ns, err := netns.GetFromPath(file)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", file, err)
	}
	var g errgroup.Group
	g.Go(func() error {
		runtime.LockOSThread() // never undone: the thread ends with the goroutine
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("enter network namespace %s (capability SYS_ADMIN?): %w", file, err)
		}
		return fn()
	})
	return errors.Join(g.Wait(), ns.Close())
}
