package render

import (
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/internal/ports"
	"github.com/sluicemesh/sluice/webhook/multus"
)

// pluginNetwork is the network of the plugin, as Multus finds it.
const pluginNetwork = "default/istio-cni"

// forPlugin tells the network plugin what to capture: it reads annotations, and knows
// neither the mesh configuration nor the chart's values. So an empty list that stands for
// "nothing" is written as well.
func (w *writer) forPlugin() {
	c := &w.Capture
	args := c.Args()
	w.annotate(meta.InterceptionMode, string(c.Mode))
	w.annotate(meta.IncludeOutboundIPRanges, c.OutboundRanges.String())
	w.annotate(meta.IncludeInboundPorts, c.InboundPorts.String())
	for _, o := range []struct{ key, flag string }{
		{meta.ExcludeOutboundIPRanges, "-x"},
		{meta.IncludeOutboundPorts, "-q"},
		{meta.ExcludeOutboundPorts, "-o"},
		{meta.ExcludeInterfaces, "-c"},
		{w.virtualKey(), "-k"},
	} {
		if v := option(args, o.flag); v != "" {
			w.annotate(o.key, v)
		}
	}
	// The plugin adds the proxy's fixed ports itself.
	excluded := strings.Split(option(args, "-d"), ",")
	if own := excluded[len(ports.InboundExcluded()):]; len(own) > 0 {
		w.annotate(meta.ExcludeInboundPorts, strings.Join(own, ","))
	}
	if w.Init.Multus {
		w.out.Annotations[meta.Networks] = multus.Append(w.out.Annotations[meta.Networks], pluginNetwork)
	}
}

// option is the value behind a flag, "" where there is none.
func option(args []string, flag string) string {
	if at := slices.Index(args, flag); at >= 0 {
		return args[at+1]
	}
	return ""
}

// virtualKey is the spelling of the annotation that the user chose.
func (w *writer) virtualKey() string {
	_, newer := w.in.Annotations[meta.VirtualInterfaces]
	if _, older := w.in.Annotations[meta.KubevirtInterfaces]; older && !newer {
		return meta.KubevirtInterfaces
	}
	return meta.VirtualInterfaces
}
