// Package name builds the table of host names from which agents answer DNS queries: the
// entries of one service, encoded as a table of their own that agents join with the others.
//
// The parameters of Build are its cache key. The package is pure; whether a client sees the
// service was settled before, and short names are the agent's to work out.
package name

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/sluicemesh/sluice/internal/nametable"
	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/ir"
)

// Key is what besides the service decides its entries. It is comparable.
type Key struct {
	// Families are those of the proxy's pod; addresses of others are left out.
	Families class.Families
}

// UsesMembers reports whether the addresses are those of the members: of a headless service,
// and of any other without an address of its own whose clients dial the members.
func UsesMembers(s ir.Service) bool { return s.Resolution == ir.Passthrough && len(s.Addresses) == 0 }

// Build returns the encoded table of one service: its host name, and for the members of a
// headless service that have names of their own an entry each, sorted by name. It is nil for
// a service without address, which DNS of the world may know.
//
// members counts only if UsesMembers; those that are not ready are left out. Networks are no
// addresses of a name.
func Build(s ir.Service, members []ir.SliceEndpoint, k Key) []byte {
	e := nametable.Entry{Host: s.ID.Host, Registry: nametable.External, Namespace: s.ID.Namespace}
	if s.Registry == ir.Kubernetes {
		e.Registry, e.ShortName = nametable.Kubernetes, s.Name
	}
	if !UsesMembers(s) {
		for _, p := range s.Addresses {
			if p.IsSingleIP() && k.has(p.Addr()) {
				e.Addresses = append(e.Addresses, p.Addr().String())
			}
		}
		return appendEntry(nil, e)
	}
	var all []netip.Addr
	own := map[string][]netip.Addr{}
	for _, m := range members {
		if m.Health != ir.Healthy {
			continue
		}
		for _, text := range m.Addresses {
			ip, err := netip.ParseAddr(text)
			if err != nil || !k.has(ip) {
				continue
			}
			all = append(all, ip)
			if m.Hostname != "" {
				own[m.Hostname] = append(own[m.Hostname], ip)
			}
		}
	}
	e.Addresses = texts(all)
	out := appendEntry(nil, e)
	for _, hostname := range slices.Sorted(maps.Keys(own)) {
		out = appendEntry(out, nametable.Entry{
			Host: hostname + "." + s.ID.Host, Addresses: texts(own[hostname]),
			Registry: e.Registry, ShortName: hostname + "." + e.ShortName, Namespace: e.Namespace,
		})
	}
	return out
}

func appendEntry(table []byte, e nametable.Entry) []byte {
	if len(e.Addresses) == 0 {
		return table
	}
	return nametable.Append(table, e)
}

// texts are addresses as text, sorted and each once: the order of members says nothing.
func texts(ips []netip.Addr) []string {
	slices.SortFunc(ips, netip.Addr.Compare)
	var out []string
	for _, ip := range slices.Compact(ips) {
		out = append(out, ip.String())
	}
	return out
}

func (k Key) has(ip netip.Addr) bool {
	if ip.Is4() {
		return k.Families&class.IPv4 != 0
	}
	return k.Families&class.IPv6 != 0
}
