package initcontainer

import (
	"cmp"
	"net/netip"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/host"
)

// completed is c with what the command line does not say and the host knows: the servers
// for DNS. What may surprise is said in the log.
func (c Config) completed() Config {
	for _, note := range c.Options.Notes {
		c.Log.Warn("setting without effect", "note", note)
	}
	if !c.captures() {
		return c
	}
	if m := c.Capture.TProxyMark; c.Capture.Mode == capture.TProxy && m != capture.DefaultTProxyMark {
		c.Log.Warn("the mesh's listeners use another packet mark: calls to the application fail", "mark", m, "listeners", capture.DefaultTProxyMark)
	}
	if c.Capture.RedirectDNS && !c.Capture.CaptureAllDNS && len(c.Capture.DNSServers) == 0 {
		c.Capture.DNSServers = c.resolvers()
	}
	return c
}

// resolvers are the pod's servers for DNS. A pod without any asks nobody: that must not
// keep it from starting.
func (c Config) resolvers() []netip.Addr {
	file := cmp.Or(c.Resolvers, host.ResolverFile)
	servers, err := host.ReadResolvers(file)
	if err != nil {
		c.Log.Warn("DNS queries are not captured", "error", err)
	} else if len(servers) == 0 {
		c.Log.Warn("DNS queries are not captured: no server is listed", "file", file)
	}
	return servers
}
