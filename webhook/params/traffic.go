package params

import (
	"fmt"
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
	values := &r.Defaults.Values.Global.Proxy.Ranges
	c.OutboundRanges = list(r, meta.IncludeOutboundIPRanges, string(values.IncludeIPRanges), capture.ParseRanges)
	c.OutboundExcludeRanges = list(r, meta.ExcludeOutboundIPRanges, string(values.ExcludeIPRanges), capture.ParsePrefixes)
	c.InboundPorts = list(r, meta.IncludeInboundPorts, string(values.IncludeInboundPorts), capture.ParsePorts)
	c.OutboundPorts = list(r, meta.IncludeOutboundPorts, string(values.IncludeOutboundPorts), capture.ParsePortList)
	c.OutboundExcludePorts = list(r, meta.ExcludeOutboundPorts, string(values.ExcludeOutboundPorts), capture.ParsePortList)

	c.InboundExcludePorts = append(ports.InboundExcluded(),
		list(r, meta.ExcludeInboundPorts, string(values.ExcludeInboundPorts), capture.ParsePortList)...)
	if s := p.Health.StatusPort; s != 0 && !slices.Contains(c.InboundExcludePorts, s) {
		c.InboundExcludePorts = append(c.InboundExcludePorts, s)
	}
	c.ExcludeInterfaces = list(r, meta.ExcludeInterfaces, "", capture.ParseInterfaces)
	c.VirtualInterfaces = list(r, meta.KubevirtInterfaces, "", capture.ParseInterfaces)
	if _, ok := r.get(meta.VirtualInterfaces); ok {
		c.VirtualInterfaces = list(r, meta.VirtualInterfaces, "", capture.ParseInterfaces)
	}
	return c
}

// list parses an annotation that is present, even when empty, else the value of the chart.
func list[T any](r *reader, key, value string, parse func(string) (T, error)) T {
	if v, ok := r.get(key); ok {
		value = v
	}
	out, err := parse(value)
	r.badEach(key, err)
	return out
}

// mode reads the interception mode.
func (r *reader) mode(config *meshv1alpha1.ProxyConfig) capture.Mode {
	mode, from := config.InterceptionMode.String(), meta.ProxyConfig
	if v, ok := r.get(meta.InterceptionMode); ok {
		mode, from = v, meta.InterceptionMode
	}
	switch m := capture.Mode(mode); m {
	case capture.Redirect, capture.TProxy, capture.None:
		return m
	}
	r.bad(from, "%q is not an interception mode, write REDIRECT, TPROXY or NONE", mode)
	return capture.Redirect
}

// initEnvironment refuses what the init container would refuse at its start: the proxy's
// metadata are its environment too, and a pod whose init container fails never runs.
func (r *reader) initEnvironment(config *meshv1alpha1.ProxyConfig, p Params) {
	if p.Template != Sidecar || p.Capture.Mode == capture.None || len(config.ProxyMetadata) == 0 {
		return
	}
	var groups []string
	names := capture.NoNames()
	names.Group = func(name string) (uint32, bool) {
		groups = append(groups, name)
		return 0, true
	}
	_, _, err := capture.ParseWith(p.Capture.Args(), func(name string) string { return config.ProxyMetadata[name] }, names)
	for _, mistake := range each(err) {
		r.report(annotation(meta.ProxyConfig), UnsupportedSetting, true, fmt.Sprintf("proxyMetadata: %v", mistake))
	}
	for _, name := range groups {
		r.report(annotation(meta.ProxyConfig), UnsupportedSetting, false, fmt.Sprintf(
			"proxyMetadata: group %q is looked up in the image of the init container, which fails where there is none: write its number", name))
	}
}
