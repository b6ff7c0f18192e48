// Package routetable joins encoded virtual hosts into an encoded RouteConfiguration
// and grammar for the names of the parts.
//
// The virtual host is the unit that the control plane builds, versions and sends to its
// agents; Envoy takes a RouteConfiguration whole. Joining decodes nothing: the field
// virtual_hosts of a RouteConfiguration is a list of length-delimited records, so the
// table is the bytes of its shell (the message without hosts) followed by one record for
// each host. The package is pure.
package routetable

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// virtualHosts is the field number of RouteConfiguration.virtual_hosts.
// Source: envoy/config/route/v3/route.proto.
const virtualHosts protowire.Number = 2

// Join returns the encoded RouteConfiguration of shell and hosts, hosts in the order given.
// shell is an encoded RouteConfiguration without virtual hosts; each host is an encoded
// VirtualHost. The result is new; the arguments are not kept.
func Join(shell []byte, hosts [][]byte) []byte {
	size := len(shell)
	for _, h := range hosts {
		size += protowire.SizeTag(virtualHosts) + protowire.SizeBytes(len(h))
	}
	out := make([]byte, 0, size)
	out = append(out, shell...)
	for _, h := range hosts {
		out = protowire.AppendTag(out, virtualHosts, protowire.BytesType)
		out = protowire.AppendBytes(out, h)
	}
	return out
}

// HostName is the resource name of one virtual host of one route table, "<route>/<host>".
// host contains no slash: it is "<fqdn>:<port>" or a fixed word such as "allow_any".
func HostName(route, host string) string { return route + "/" + host }

// SplitHostName undoes HostName. ok is false when name has no slash. The route may itself
// contain slashes (a Unix socket path), the host does not.
func SplitHostName(name string) (route, host string, ok bool) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return "", "", false
	}
	return name[:i], name[i+1:], true
}
