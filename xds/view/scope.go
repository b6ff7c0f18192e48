// Package view says what a class of proxies sees of the mesh: the listeners and route
// tables of the services that it may call, the ports that it serves, what its gateways
// open.
//
// Work on what a proxy sends is done once per Scope, which the classes of a namespace
// share; work on what it receives, and on gateways, per class. The package is pure: it
// selects and orders, and builds nothing of Envoy but the descriptions that builders take.
package view

import (
	"net/netip"
	"slices"

	"github.com/sluicemesh/sluice/internal/nodemeta"
	"github.com/sluicemesh/sluice/internal/ports"
	"github.com/sluicemesh/sluice/xds/class"
)

// Scope is the part of a class that decides what its proxies send. It is comparable.
type Scope struct {
	Namespace    string
	DNSDomain    string // what follows the namespace: "svc.cluster.local"
	Families     class.Families
	Interception string
	Router       bool
	Unprivileged bool
	Names        bool // the agents get the table of host names
}

// ScopeOf returns the scope of a class.
func ScopeOf(c class.Class) Scope {
	s := Scope{Namespace: c.Namespace, DNSDomain: c.DNSDomain, Families: c.Families, Router: c.Role == nodemeta.Router, Names: c.Names}
	if !s.Router {
		s.Interception, s.Unprivileged = c.Interception, c.Unprivileged
	}
	return s
}

// Bound reports whether listeners are real sockets, because nothing is intercepted.
func (s Scope) Bound() bool { return s.Interception == "NONE" }

// Opens reports whether a wildcard listener may have that port: it must be none of the
// proxy's own, and one that the proxy can bind if it has to.
func (s Scope) Opens(port uint16) bool {
	if slices.Contains(reserved(), port) {
		return false
	}
	return !s.Bound() || !s.Unprivileged || port >= 1024
}

// reserved are the ports that the proxy itself listens to on all addresses.
func reserved() []uint16 {
	return []uint16{ports.OutboundCapture, ports.InboundCapture, ports.EnvoyHealth, ports.EnvoyPrometheus}
}

// split separates addresses of the scope's families from networks.
func (s Scope) split(prefixes []netip.Prefix) (addrs []netip.Addr, networks []netip.Prefix) {
	for _, p := range prefixes {
		if !s.has(p.Addr()) {
			continue
		}
		if p.IsSingleIP() {
			addrs = append(addrs, p.Addr())
		} else {
			networks = append(networks, p)
		}
	}
	return addrs, networks
}

func (s Scope) has(ip netip.Addr) bool {
	if ip.Is4() {
		return s.Families&class.IPv4 != 0
	}
	return s.Families&class.IPv6 != 0
}
