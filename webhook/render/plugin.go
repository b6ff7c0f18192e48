package render

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/internal/ports"
)

// The network of the plugin, as Multus finds it.
const (
	networkNamespace = "default"
	networkName      = "istio-cni"
)

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
		w.network()
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

// network adds the plugin's network to those that Multus attaches, in the form that the
// user chose. What cannot be read is left to Multus to complain about.
func (w *writer) network() {
	const name = networkNamespace + "/" + networkName
	old := strings.TrimSpace(w.out.Annotations[meta.Networks])
	switch {
	case old == "":
		w.out.Annotations[meta.Networks] = name
	case strings.HasPrefix(old, "["):
		w.out.Annotations[meta.Networks] = appendNetwork(old)
	case !slices.ContainsFunc(strings.Split(old, ","), func(n string) bool { return strings.TrimSpace(n) == name }):
		w.out.Annotations[meta.Networks] = old + "," + name
	}
}

// appendNetwork is network for a JSON list; fields of others are kept as they are.
func appendNetwork(text string) string {
	var raw []json.RawMessage
	var known []struct{ Name, Namespace string }
	if json.Unmarshal([]byte(text), &raw) != nil || json.Unmarshal([]byte(text), &known) != nil {
		return text
	}
	for _, n := range known {
		if n.Name == networkName && (n.Namespace == networkNamespace || n.Namespace == "") || n.Name == networkNamespace+"/"+networkName {
			return text
		}
	}
	return encode(append(raw, json.RawMessage(`{"name":"`+networkName+`","namespace":"`+networkNamespace+`"}`)))
}
