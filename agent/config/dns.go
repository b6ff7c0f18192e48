package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/sluicemesh/sluice/internal/nodemeta"
	"github.com/sluicemesh/sluice/internal/ports"
)

// Where the name servers of the pod are written, and where a machine keeps them that
// names the agent as its own name server.
const (
	resolverFile        = "/etc/resolv.conf"
	machineResolverFile = "/var/lib/istio/resolv.conf"
)

// domainNameSystem is the port of name servers.
const domainNameSystem = 53

// dns reads whether the agent answers DNS queries: those that interception redirects to it,
// or for a gateway those that are sent to it. Without Envoy nothing is intercepted.
func (l *loader) dns(c *Config) DNS {
	captured := l.env.flag("ISTIO_META_DNS_CAPTURE", false) && c.Role == nodemeta.Sidecar
	if asked := l.env.flag("ISTIO_META_ENABLE_DNS_SERVER", false); !captured && !asked || c.Proxyless.Enabled {
		return DNS{}
	}
	d := DNS{
		Enabled: true, Domain: lowerName(strings.TrimPrefix(c.Node.DNSDomain, c.Node.Namespace+".")),
		Parallel: l.env.flag("DNS_FORWARD_PARALLEL", false), Timeout: l.env.duration("DNS_FORWARD_TIMEOUT", 5*time.Second),
	}
	if d.Timeout == 0 {
		l.env.fail("environment DNS_FORWARD_TIMEOUT: 0s leaves no time for an answer")
	}
	resolver := l.resolver(resolverFile)
	families := append(addressesOf(resolver.Servers), c.Node.IPs...)
	d.Listen = l.dnsListen(c, families)
	if slices.ContainsFunc(d.Listen, func(a netip.AddrPort) bool { return a.Port() == domainNameSystem }) {
		d.ForwardEarly = true
		if l.read(machineResolverFile) != "" {
			resolver = l.resolver(machineResolverFile)
		}
	}
	for _, server := range resolver.Servers {
		d.Upstreams = append(d.Upstreams, net.JoinHostPort(server, resolver.Port))
	}
	if len(resolver.Search) > 0 {
		d.Search = lowerName(resolver.Search[0])
	}
	return d
}

// resolver reads a resolv.conf. One that is missing names no server.
func (l *loader) resolver(path string) *miekg.ClientConfig {
	out, err := miekg.ClientConfigFromReader(strings.NewReader(l.read(path)))
	if err != nil {
		l.env.fail("%s: %w", path, err)
		return &miekg.ClientConfig{}
	}
	return out
}

// dnsListen is where queries come to. For localhost that are the loopback addresses of the
// families in which the application may send queries: a redirected packet keeps its family.
func (l *loader) dnsListen(c *Config, families []netip.Addr) []netip.AddrPort {
	const name = "DNS_PROXY_ADDR"
	text := l.env.text(name, "localhost:"+strconv.Itoa(int(ports.AgentDNS)))
	host, portText, err := net.SplitHostPort(text)
	port, portErr := strconv.ParseUint(portText, 10, 16)
	if err != nil || portErr != nil || port == 0 {
		l.env.fail("environment %s: %q is not host:port", name, text)
		return nil
	}
	if port == domainNameSystem && l.src.UID != 0 {
		c.Ignored = append(c.Ignored, fmt.Sprintf("environment %s: port %d needs user 0, port %d is used", name, domainNameSystem, ports.AgentDNS))
		port = uint64(ports.AgentDNS)
	}
	if host != "localhost" {
		ip, err := netip.ParseAddr(host)
		if err != nil {
			l.env.fail("environment %s: %q is neither localhost nor an IP address", name, host)
			return nil
		}
		return []netip.AddrPort{netip.AddrPortFrom(ip, uint16(port))}
	}
	var out []netip.AddrPort
	if len(families) == 0 || slices.ContainsFunc(families, netip.Addr.Is4) {
		out = append(out, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)))
	}
	if slices.ContainsFunc(families, netip.Addr.Is6) {
		out = append(out, netip.AddrPortFrom(netip.IPv6Loopback(), uint16(port)))
	}
	return out
}

// addressesOf are the name servers that are IP addresses.
func addressesOf(servers []string) []netip.Addr {
	var out []netip.Addr
	for _, text := range servers {
		if ip, err := netip.ParseAddr(text); err == nil {
			out = append(out, ip.Unmap())
		}
	}
	return out
}

// lowerName is a name in lower case without trailing dot.
func lowerName(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
