// Package host looks at the network namespace and the image: which address families the
// pod has, and which iptables programs can write the rules.
//
// It only reads. (Istio probes with a rule that it adds and removes; a namespace in use
// must not be changed to find out about it.) It runs programs and reads /proc and netlink.
package host

import (
	"fmt"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
)

// Families says which addresses the network namespace of the calling thread has.
type Families struct {
	IPv4 bool // an address other than loopback and link-local, on an interface other than lo
	IPv6 bool // the same for IPv6: traffic that would leak if IPv6 were not captured
	// IPv6Enabled says that lo takes IPv6 addresses. A pod without an IPv6 address of its
	// own can still reach itself, and may be given one later.
	IPv6Enabled bool
}

// None reports that the pod has no address at all, which is never right for a pod.
func (f Families) None() bool { return !f.IPv4 && !f.IPv6 }

// ReadFamilies reads the addresses of all interfaces but lo, of the calling thread's
// namespace. Addresses on lo say nothing of traffic with others, and one is our own.
func ReadFamilies() (Families, error) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return Families{}, fmt.Errorf("find interface lo: %w", err)
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return Families{}, fmt.Errorf("list interface addresses: %w", err)
	}
	var f Families
	for _, a := range addrs {
		switch {
		case a.LinkIndex == lo.Attrs().Index, !a.IP.IsGlobalUnicast():
		case a.IP.To4() != nil:
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
