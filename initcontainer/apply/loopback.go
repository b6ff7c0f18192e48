package apply

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/host"
)

// AddLoopback puts p on lo. That it is there already is no error.
func AddLoopback(h *netlink.Handle, p netip.Prefix) error {
	err := h.AddrAdd(nil, onLoopback(p))
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add address %s to lo: %w", p, err)
	}
	return nil
}

// RemoveLoopback takes p off lo. That it is not there is no error.
func RemoveLoopback(h *netlink.Handle, p netip.Prefix) error {
	err := h.AddrDel(nil, onLoopback(p))
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("remove address %s from lo: %w", p, err)
	}
	return nil
}

func onLoopback(p netip.Prefix) *netlink.Addr {
	// Without the flag the address cannot be used until a worker of the kernel has got to it.
	return &netlink.Addr{LinkIndex: host.LoIndex, Flags: unix.IFA_F_NODAD, IPNet: &net.IPNet{
		IP:   p.Addr().AsSlice(),
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}}
}
