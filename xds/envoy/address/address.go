// Package address writes socket addresses: the wildcards, loopbacks and source addresses
// that go with a proxy's IP families. It is pure.
package address

import (
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/sluicemesh/sluice/xds/class"
)

// Wildcards are the addresses that stand for all of the families, the primary first. No
// family at all counts as IPv4.
func Wildcards(f class.Families) []netip.Addr {
	return pick(f, netip.IPv4Unspecified(), netip.IPv6Unspecified())
}

// Loopbacks are the loopback addresses of the families, the primary first.
func Loopbacks(f class.Families) []netip.Addr {
	return pick(f, netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback())
}

// InboundSources are the addresses from which a proxy connects to its own application,
// 127.0.0.6 and ::6. The interception rules leave connections from them alone, which would
// otherwise come back to the proxy.
func InboundSources(f class.Families) []netip.Addr {
	return pick(f, netip.AddrFrom4([4]byte{127, 0, 0, 6}), netip.AddrFrom16([16]byte{15: 6}))
}

func pick(f class.Families, v4, v6 netip.Addr) []netip.Addr {
	switch f & (class.IPv4 | class.IPv6) {
	case class.IPv4 | class.IPv6:
		return []netip.Addr{v4, v6}
	case class.IPv6:
		return []netip.Addr{v6}
	}
	return []netip.Addr{v4}
}

// Socket is a TCP address.
func Socket(ip netip.Addr, port uint16) *corev3.Address { return Named(ip.String(), port) }

// Named is a TCP address given as text: an IP address, or for DNS a name.
func Named(host string, port uint16) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: source(host, port)}}
}

func source(host string, port uint16) *corev3.SocketAddress {
	return &corev3.SocketAddress{
		Address:       host,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)},
	}
}

// Listen returns the address of a listener and its additional ones. ips is not empty.
func Listen(ips []netip.Addr, port uint16) (*corev3.Address, []*listenerv3.AdditionalAddress) {
	var more []*listenerv3.AdditionalAddress
	for _, ip := range ips[1:] {
		more = append(more, &listenerv3.AdditionalAddress{Address: Socket(ip, port)})
	}
	return Socket(ips[0], port), more
}

// BindSource makes connections leave from the given addresses, one for each family.
// ips is not empty.
func BindSource(ips []netip.Addr) *corev3.BindConfig {
	bind := &corev3.BindConfig{SourceAddress: source(ips[0].String(), 0)}
	for _, ip := range ips[1:] {
		bind.ExtraSourceAddresses = append(bind.ExtraSourceAddresses, &corev3.ExtraSourceAddress{Address: source(ip.String(), 0)})
	}
	return bind
}
