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
	c, mistakes := c.Annotated(r.selecting)
	for _, m := range mistakes {
		r.badEach(m.Key, m.Err)
	}
	c.InboundExcludePorts = append(ports.InboundExcluded(), c.InboundExcludePorts...)
	if s := p.Health.StatusPort; s != 0 && !slices.Contains(c.InboundExcludePorts, s) {
		c.InboundExcludePorts = append(c.InboundExcludePorts, s)
	}
	return c
}

// selecting returns an annotation that selects traffic; where it is absent, not where it is
// empty, the value of the chart.
func (r *reader) selecting(key string) (string, bool) {
	if v, ok := r.get(key); ok {
		return v, true
	}
	values := &r.Defaults.Values.Global.Proxy.Ranges
	switch key {
	case meta.IncludeOutboundIPRanges:
		return string(values.IncludeIPRanges), true
	case meta.ExcludeOutboundIPRanges:
		return string(values.ExcludeIPRanges), true
	case meta.IncludeInboundPorts:
		return string(values.IncludeInboundPorts), true
	case meta.ExcludeInboundPorts:
		return string(values.ExcludeInboundPorts), true
	case meta.IncludeOutboundPorts:
		return string(values.IncludeOutboundPorts), true
	case meta.ExcludeOutboundPorts:
		return string(values.ExcludeOutboundPorts), true
	}
	return "", false
}

// mode reads the interception mode.
func (r *reader) mode(config *meshv1alpha1.ProxyConfig) capture.Mode {
	mode, from := config.InterceptionMode.String(), meta.ProxyConfig
	if v, ok := r.get(meta.InterceptionMode); ok {
		mode, from = v, meta.InterceptionMode
	}
	m, err := capture.ParseMode(mode)
	if err != nil {
		r.bad(from, "%v", err)
		return capture.Redirect
	}
	return m
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
