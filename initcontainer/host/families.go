package host

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
)

// LoIndex is the number of interface lo in every network namespace.
const LoIndex = 1

// Families says which addresses the network namespace of the calling thread has.
type Families struct {
	IPv4 bool // an address other than loopback and link-local, on an interface other than lo
	IPv6 bool // the same for IPv6: traffic that would leak if IPv6 were not captured
	// IPv6Enabled says that lo takes IPv6 addresses. A pod without an IPv6 address of its
	// own can still reach itself, and may be given one later.
	IPv6Enabled bool
	OnLo        []netip.Addr // the addresses of lo, of both families
}

// None reports that the pod has no address at all, which is never right for a pod.
func (f Families) None() bool { return !f.IPv4 && !f.IPv6 }

// ReadFamilies reads the addresses of all interfaces of the namespace that h was made in,
// which must be the calling thread's.
func ReadFamilies(h *netlink.Handle) (Families, error) {
	addrs, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return Families{}, fmt.Errorf("list interface addresses: %w", err)
	}
	var f Families
	for _, a := range addrs {
		ip, _ := netip.AddrFromSlice(a.IP)
		ip = ip.Unmap()
		switch {
		// Addresses on lo say nothing of traffic with others, and one is our own.
		case a.LinkIndex == LoIndex:
			f.OnLo = append(f.OnLo, ip)
		case !ip.IsGlobalUnicast():
		case ip.Is4():
			f.IPv4 = true
		default:
			f.IPv6 = true
		}
	}
	// The file is missing where the kernel has no IPv6.
	disabled, err := os.ReadFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6")
	f.IPv6Enabled = err == nil && strings.TrimSpace(string(disabled)) == "0"
	return f, nil
}
