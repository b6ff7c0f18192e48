// Package gateway converts Gateways of networking.istio.io. The package is pure.
package gateway

import (
	"fmt"
	"net/netip"
	"strings"

	networkingv1alpha3 "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/api/object"
	"github.com/sluicemesh/sluice/xds/ir"
)

// supported are the fields that Convert reads.
const supported = `selector servers.port.number servers.port.protocol servers.port.name
	servers.bind servers.hosts servers.name servers.tls.httpsRedirect servers.tls.mode`

// Convert returns the gateway with those of its servers that can be programmed.
func Convert(g *networkingv1.Gateway) (ir.Gateway, []problem.Problem) {
	notes := &object.Notes{Origin: object.Origin("Gateway.networking.istio.io", g)}
	notes.Unsupported(&g.Spec, object.Fields(supported))
	out := ir.Gateway{Namespace: g.Namespace, Name: g.Name, Selector: ir.LabelsOf(g.Spec.Selector), From: notes.Origin}
	if len(g.Spec.Servers) == 0 {
		notes.Fatal("spec.servers", object.Missing, "a Gateway without servers opens no port; add one")
	}
	for i, s := range g.Spec.Servers {
		mark := len(notes.Problems)
		server := convertServer(notes, fmt.Sprintf("spec.servers[%d]", i), g.Namespace, s)
		server.Index = i
		if !notes.Failed(mark) {
			out.Servers = append(out.Servers, server)
		}
	}
	return out, notes.Problems
}

func convertServer(notes *object.Notes, path, namespace string, s *networkingv1alpha3.Server) ir.Server {
	out := ir.Server{Name: s.Name, Bind: s.Bind, HTTPSRedirect: s.Tls.GetHttpsRedirect()}
	if s.Port == nil {
		notes.Fatal(path+".port", object.Missing, "a server needs a port; set number, name and protocol")
		return out
	}
	out.Port = notes.Port(path+".port.number", s.Port.Number)
	out.PortName = s.Port.Name
	protocol, known := ir.ParseProtocol(s.Port.Protocol)
	switch {
	case !known:
		notes.Fatal(path+".port.protocol", object.InvalidValue, "%q is not a protocol; use HTTP, HTTP2, GRPC, HTTPS, TLS or TCP", s.Port.Protocol)
	case !protocol.IsHTTP():
		notes.Fatal(path+".port.protocol", object.NotSupported, "%s servers are not supported yet; use HTTP", protocol)
	case s.Tls != nil && !s.Tls.HttpsRedirect:
		notes.Fatal(path+".tls", object.InvalidValue, "%s is plain text; use HTTPS, or remove tls", protocol)
	}
	out.Protocol = protocol
	if _, err := netip.ParseAddr(s.Bind); s.Bind != "" && err != nil {
		notes.Fatal(path+".bind", object.NotSupported, "%q is not an IP address", s.Bind)
	}
	if len(s.Hosts) == 0 {
		notes.Fatal(path+".hosts", object.Missing, "a server needs a host; \"*\" stands for all")
	}
	for j, text := range s.Hosts {
		out.Hosts = append(out.Hosts, host(notes, fmt.Sprintf("%s.hosts[%d]", path, j), namespace, text))
	}
	return out
}

// host reads "host" or "<namespace>/host", where the namespace may be "*" for any or "."
// for the gateway's own.
func host(notes *object.Notes, path, namespace, text string) ir.ServerHost {
	ns, name, found := strings.Cut(text, "/")
	if !found {
		ns, name = "*", text
	}
	out := ir.ServerHost{Host: strings.TrimSuffix(strings.ToLower(name), ".")}
	switch ns {
	case "*":
	case ".":
		out.Namespace = namespace
	case "", "~":
		notes.Fatal(path, object.InvalidValue, "%q names no namespace; use \"*\", \".\" or a name before the slash", text)
	default:
		out.Namespace = ns
	}
	if !object.ValidHost(out.Host) {
		notes.Fatal(path, object.InvalidValue, "%q is not a host; write a DNS name, \"*.example.com\" or \"*\"", name)
	}
	return out
}
