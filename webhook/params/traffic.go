package params

import (
	"math"
	"slices"

	meshv1alpha1 "istio.io/api/mesh/v1alpha1"

	"github.com/sluicemesh/sluice/internal/capture"
	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/internal/ports"
)

// capture resolves what of the pod's traffic goes through the proxy.
func (r *reader) capture(config *meshv1alpha1.ProxyConfig, p Params) capture.Config {
	c := capture.Default()
	if p.Template == Gateway {
		c.Mode = capture.None
		return c
	}
	if n := r.Defaults.Mesh.ProxyListenPort; n > 0 && n <= 65535 {
		c.OutboundPort = uint16(n)
	}
	if n := r.Defaults.Mesh.ProxyInboundListenPort; n > 0 && n <= 65535 {
		c.InboundPort = uint16(n)
	}
	c.Mode = r.mode(config)
	c.ProxyUIDs, c.ProxyGIDs = r.owners(p.Proxy)

	values := &r.Defaults.Values.Global.Proxy.Ranges
	c.OutboundRanges = list(r, meta.IncludeOutboundIPRanges, values.IncludeIPRanges, capture.ParseRanges)
	c.OutboundExcludeRanges = list(r, meta.ExcludeOutboundIPRanges, values.ExcludeIPRanges, capture.ParsePrefixes)
	c.InboundPorts = list(r, meta.IncludeInboundPorts, values.IncludeInboundPorts, capture.ParsePorts)
	c.OutboundPorts = list(r, meta.IncludeOutboundPorts, values.IncludeOutboundPorts, capture.ParsePortList)
	c.OutboundExcludePorts = list(r, meta.ExcludeOutboundPorts, values.ExcludeOutboundPorts, capture.ParsePortList)

	c.InboundExcludePorts = append(ports.InboundExcluded(),
		list(r, meta.ExcludeInboundPorts, values.ExcludeInboundPorts, capture.ParsePortList)...)
	if s := p.Health.StatusPort; s != 0 && !slices.Contains(c.InboundExcludePorts, s) {
		c.InboundExcludePorts = append(c.InboundExcludePorts, s)
	}
	return c
}

// list parses an annotation that is present, even when empty, else the value of the chart.
func list[T any](r *reader, key, value string, parse func(string) (T, error)) T {
	if v, ok := r.get(key); ok {
		value = v
	}
	out, err := parse(value)
	if err != nil {
		r.bad(key, "%v", err)
	}
	return out
}

// mode reads the interception mode.
func (r *reader) mode(config *meshv1alpha1.ProxyConfig) capture.Mode {
	mode, from := config.InterceptionMode.String(), meta.ProxyConfig
	if v, ok := r.get(meta.InterceptionMode); ok {
		mode, from = v, meta.InterceptionMode
	}
	switch m := capture.Mode(mode); m {
	case capture.Redirect, capture.None:
		return m
	case capture.TProxy:
		r.report(annotation(from), UnsupportedSetting, true,
			"interception mode TPROXY is not supported by this version of Sluice, write REDIRECT or NONE")
	default:
		r.bad(from, "%q is not an interception mode, write REDIRECT or NONE", mode)
	}
	return capture.Redirect
}

// owners returns the ids by which the kernel tells the proxy's own traffic apart: those
// that the container really has. Id 0 cannot serve, since other processes run as root.
func (r *reader) owners(c Container) (uids, gids []uint32) {
	for _, id := range []int64{c.UID, c.GID} {
		if id < 0 || id > math.MaxUint32 {
			r.report("spec.containers[istio-proxy].securityContext", UnsafeIdentity, true,
				"runAsUser and runAsGroup must lie between 0 and 4294967295")
			return nil, nil
		}
	}
	uid, gid := uint32(c.UID), uint32(c.GID)
	switch {
	case uid == 0 && gid == 0:
		r.report("spec.containers[istio-proxy].securityContext", UnsafeIdentity, true,
			"a proxy that runs as user 0 and group 0 cannot be told apart from other processes: set runAsGroup to 1337")
		return nil, nil
	case uid == 0:
		return []uint32{gid}, []uint32{gid}
	case gid == 0:
		return []uint32{uid}, []uint32{uid}
	}
	return []uint32{uid}, []uint32{gid}
}
