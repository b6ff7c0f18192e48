// Package capture is the contract between the injector, which decides what of a pod's
// traffic goes through the proxy, and the init container, which makes the kernel do so.
//
// The injector writes Config as command-line arguments (Args); the init container reads
// them back (Parse). A round-trip test binds the two. The package is pure.
package capture

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicemesh/sluice/internal/ports"
)

// Mode is how inbound traffic reaches the proxy.
type Mode string

// The interception modes that users know.
const (
	Redirect Mode = "REDIRECT" // nat REDIRECT; the peer's address is lost
	TProxy   Mode = "TPROXY"   // transparent proxying; the peer's address is kept
	None     Mode = "NONE"     // no rules at all
)

// DefaultProxyID is the UID and GID of the proxy where nothing else is configured.
const DefaultProxyID uint32 = 1337

// The packet mark and the routing table of mode TPROXY where nothing else is configured. The
// mesh's listeners use this mark, too.
const (
	DefaultTProxyMark  uint32 = 1337
	DefaultTProxyTable int    = 133
)

// Ranges selects destinations by address: everything, or a list of prefixes.
// The zero value selects nothing.
type Ranges struct {
	All      bool           // "*"
	Prefixes []netip.Prefix // in the user's order; empty when All
}

// Ports selects destinations by port: everything, or a list. The zero value selects nothing.
type Ports struct {
	All  bool     // "*"
	List []uint16 // in the user's order; empty when All
}

// Groups selects processes by their primary group: all, or those of a list. The zero value
// selects none.
type Groups struct {
	All  bool
	List []uint32 // at most MaxGroups; empty when All
}

// MaxGroups is how many groups can be listed: the legacy kernel interface takes no more
// conditions in one rule.
const MaxGroups = 64

// Config says what is captured. It is a value; Validate tells whether rules can be made
// from it.
type Config struct {
	OutboundPort uint16 // where captured outbound traffic goes (-p)
	InboundPort  uint16 // where captured inbound traffic goes (-z)
	TunnelPort   uint16 // never captured (-e)
	ProxyUIDs    []uint32
	ProxyGIDs    []uint32
	Mode         Mode

	OutboundRanges        Ranges         // destinations captured (-i)
	OutboundExcludeRanges []netip.Prefix // destinations never captured (-x)
	InboundPorts          Ports          // local ports captured (-b)
	InboundExcludePorts   []uint16       // local ports left alone, only with InboundPorts.All (-d)
	OutboundPorts         []uint16       // captured whatever the address (-q)
	OutboundExcludePorts  []uint16       // never captured, TCP and UDP (-o)

	// Interfaces by name, in the user's order. What enters by a virtual one was sent by a
	// guest of the pod (a virtual machine, a container in it) and is treated as outbound.
	ExcludeInterfaces []string // left alone in both directions (-c)
	VirtualInterfaces []string // (-k)

	// DropInvalid asks for packets of no known connection, of any protocol, to be dropped
	// before they reach the pod's sockets, which would reset connections for them.
	DropInvalid bool

	// The groups and Loopback have no flag: they come from the environment alone.

	OwnerGroups         Groups   // whose processes' outbound connections are captured
	OwnerGroupsExcluded []uint32 // whose are not, only with OwnerGroups.All
	// Loopback is what the proxy reaches directly in IPv4 when it calls its own pod; it lies
	// in 127.0.0.0/8. In IPv6 that is always ::1.
	Loopback netip.Prefix

	// DNS queries of the pod's processes go to the agent: those to DNSServers, or with
	// CaptureAllDNS all. DNSServers has no flag: it is what the pod's resolv.conf lists, and
	// filled in by who reads that file.
	RedirectDNS   bool
	CaptureAllDNS bool
	DNSServers    []netip.Addr

	TProxyMark  uint32 // packet mark of inbound connections in mode TPROXY (-t)
	TProxyTable int    // routing table of packets so marked (-r)
}

// Default is the configuration of a pod without any annotation: all outbound and all
// inbound TCP but the proxy's own ports. InboundExcludePorts is left to the caller.
func Default() Config {
	return Config{
		OutboundPort:   ports.OutboundCapture,
		InboundPort:    ports.InboundCapture,
		TunnelPort:     ports.Tunnel,
		ProxyUIDs:      []uint32{DefaultProxyID},
		ProxyGIDs:      []uint32{DefaultProxyID},
		Mode:           Redirect,
		OutboundRanges: Ranges{All: true},
		InboundPorts:   Ports{All: true},
		OwnerGroups:    Groups{All: true},
		Loopback:       netip.MustParsePrefix(localhost),
		TProxyMark:     DefaultTProxyMark,
		TProxyTable:    DefaultTProxyTable,
	}
}

// localhost is the loopback address of IPv4, as a range.
const localhost = "127.0.0.1/32"

// Args writes c as the arguments of sluice-init, in the order and spelling that Istio's
// init container uses (first the word "istio-iptables"). Options at their implied value
// (tunnel port, a GID list equal to the UID list, empty lists of -q, -o, -k and -c, those
// of TPROXY and DNS, --drop-invalid) are left out, and so is what has no flag: the owner
// groups, Loopback and DNSServers.
func (c Config) Args() []string {
	args := []string{
		"istio-iptables",
		"-p", formatPort(c.OutboundPort),
		"-z", formatPort(c.InboundPort),
		"-u", joinIDs(c.ProxyUIDs),
	}
	if !slices.Equal(c.ProxyGIDs, c.ProxyUIDs) {
		args = append(args, "-g", joinIDs(c.ProxyGIDs))
	}
	if c.TunnelPort != ports.Tunnel {
		args = append(args, "-e", formatPort(c.TunnelPort))
	}
	args = append(args,
		"-m", string(c.Mode),
		"-i", c.OutboundRanges.String(),
		"-x", joinPrefixes(c.OutboundExcludeRanges),
		"-b", c.InboundPorts.String(),
		"-d", joinPorts(c.InboundExcludePorts),
	)
	if len(c.OutboundPorts) > 0 {
		args = append(args, "-q", joinPorts(c.OutboundPorts))
	}
	if len(c.OutboundExcludePorts) > 0 {
		args = append(args, "-o", joinPorts(c.OutboundExcludePorts))
	}
	if len(c.VirtualInterfaces) > 0 {
		args = append(args, "-k", strings.Join(c.VirtualInterfaces, ","))
	}
	if len(c.ExcludeInterfaces) > 0 {
		args = append(args, "-c", strings.Join(c.ExcludeInterfaces, ","))
	}
	return append(args, c.rareArgs()...)
}

// rareArgs are those that the injector of Istio never writes.
func (c Config) rareArgs() []string {
	var args []string
	if c.TProxyMark != DefaultTProxyMark {
		args = append(args, "-t", joinIDs([]uint32{c.TProxyMark}))
	}
	if c.TProxyTable != DefaultTProxyTable {
		args = append(args, "-r", strconv.Itoa(c.TProxyTable))
	}
	for _, t := range []struct {
		on   bool
		name string
	}{{c.RedirectDNS, "redirect-dns"}, {c.CaptureAllDNS, "capture-all-dns"}, {c.DropInvalid, "drop-invalid"}} {
		if t.on {
			args = append(args, "--"+t.name)
		}
	}
	return args
}

// String is "*", or the prefixes joined by commas.
func (r Ranges) String() string {
	if r.All {
		return "*"
	}
	return joinPrefixes(r.Prefixes)
}

// String is "*", or the ports joined by commas.
func (p Ports) String() string {
	if p.All {
		return "*"
	}
	return joinPorts(p.List)
}

func formatPort(p uint16) string { return strconv.FormatUint(uint64(p), 10) }

func joinPorts(list []uint16) string {
	return join(list, formatPort)
}

func joinIDs(list []uint32) string {
	return join(list, func(id uint32) string { return strconv.FormatUint(uint64(id), 10) })
}

func joinPrefixes(list []netip.Prefix) string {
	return join(list, netip.Prefix.String)
}

func join[T any](list []T, format func(T) string) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = format(v)
	}
	return strings.Join(words, ",")
}
