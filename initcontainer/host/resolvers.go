package host

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// ResolverFile is where the kubelet lists the servers that a pod's processes ask.
const ResolverFile = "/etc/resolv.conf"

// ReadResolvers returns the servers that a file like ResolverFile lists.
func ReadResolvers(file string) ([]netip.Addr, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the servers for DNS: %w", err)
	}
	return ParseResolvers(string(text)), nil
}

// ParseResolvers returns the servers of a resolv.conf, each once, in order, without zones: a
// rule holds for the address on every interface. As in the C library a line that is no
// server, or not well formed, counts for nothing.
func ParseResolvers(text string) []netip.Addr {
	var out []netip.Addr
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		addr, err := netip.ParseAddr(words[1])
		if err != nil {
			continue
		}
		addr = addr.WithZone("").Unmap()
		if !slices.Contains(out, addr) {
			out = append(out, addr)
		}
	}
	return out
}
