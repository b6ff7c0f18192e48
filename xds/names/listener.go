package names

import (
	"net/netip"
	"strings"
)

// Listener is the name of a listener at an address and port, "0.0.0.0_80", "10.1.2.3_443";
// IPv6 addresses are written without brackets, "::_80". The filter chains of an inbound
// port are named alike.
func Listener(bind netip.Addr, port uint16) string { return bind.String() + "_" + number(port) }

// ParseListener reads what Listener wrote. ok is false for any other name.
func ParseListener(name string) (bind netip.Addr, port uint16, ok bool) {
	i := strings.LastIndexByte(name, '_')
	if i < 0 {
		return netip.Addr{}, 0, false
	}
	bind, err := netip.ParseAddr(name[:i])
	port, ok = parseNumber(name[i+1:])
	if err != nil || !ok || bind.String() != name[:i] {
		return netip.Addr{}, 0, false
	}
	return bind, port, true
}

// OutboundStat is the statistics prefix of the HTTP traffic of an outbound listener,
// "outbound_0.0.0.0_80;".
func OutboundStat(listener string) string { return "outbound_" + listener + ";" }

// InboundStat is the statistics prefix of the HTTP traffic of an inbound port,
// "inbound_0.0.0.0_8080;".
func InboundStat(chain string) string { return "inbound_" + chain + ";" }
