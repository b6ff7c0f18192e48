package apply

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// AddLoopback puts p on lo. That it is there already is no error.
func AddLoopback(p netip.Prefix) error {
	err := onLoopback(p, netlink.AddrAdd)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add address %s to lo: %w", p, err)
	}
	return nil
}

// RemoveLoopback takes p off lo. That it is not there is no error.
func RemoveLoopback(p netip.Prefix) error {
	err := onLoopback(p, netlink.AddrDel)
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("remove address %s from lo: %w", p, err)
	}
	return nil
}

func onLoopback(p netip.Prefix, do func(netlink.Link, *netlink.Addr) error) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	// Without the flag the address cannot be used until a worker of the kernel has got to it.
	return do(lo, &netlink.Addr{Flags: unix.IFA_F_NODAD, IPNet: &net.IPNet{
		IP:   p.Addr().AsSlice(),
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}})
}
