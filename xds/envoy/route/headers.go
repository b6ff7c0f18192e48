package route

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/sluicemesh/sluice/xds/ir"
)

// headerTarget is where a message keeps its changes of headers.
type headerTarget struct {
	add    *[]*corev3.HeaderValueOption
	remove *[]string
}

// applyHeaders appends changes. Pseudo headers and host are not headers to Envoy: hostOf
// makes a rewrite of them, the others cannot be changed.
func applyHeaders(t headerTarget, ops ir.HeaderOps) {
	put := func(headers []ir.Header, action corev3.HeaderValueOption_HeaderAppendAction) {
		for _, h := range headers {
			if !special(h.Name) {
				*t.add = append(*t.add, &corev3.HeaderValueOption{
					Header: &corev3.HeaderValue{Key: h.Name, Value: h.Value}, AppendAction: action,
				})
			}
		}
	}
	put(ops.Set, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
	put(ops.Add, corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD)
	for _, name := range ops.Remove {
		if !special(name) {
			*t.remove = append(*t.remove, name)
		}
	}
}

func special(name string) bool {
	return strings.HasPrefix(name, ":") || strings.EqualFold(name, "host")
}

// hostOf is the host that the changes give the request, empty for none. Set beats add.
func hostOf(ops ir.HeaderOps) string {
	for _, headers := range [][]ir.Header{ops.Set, ops.Add} {
		for _, h := range headers {
			if strings.EqualFold(h.Name, "host") || h.Name == ":authority" {
				return h.Value
			}
		}
	}
	return ""
}
