package listener

import (
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/sluicemesh/sluice/xds/envoy/accesslog"
	"github.com/sluicemesh/sluice/xds/envoy/address"
	"github.com/sluicemesh/sluice/xds/envoy/filter"
	"github.com/sluicemesh/sluice/xds/names"
)

// Gateway is one port of a gateway with plain HTTP servers.
type Gateway struct {
	Bind  netip.Addr // the zero value: all addresses
	Port  uint16     // where the gateway's pod listens
	Route string     // names.GatewayRoute
}

// BuildGateway returns the listener of a gateway port, named after its address. Every
// connection is parsed as HTTP: gateways do not look at first bytes.
func BuildGateway(g Gateway, k Key) *listenerv3.Listener {
	ips := []netip.Addr{g.Bind}
	if !g.Bind.IsValid() {
		ips = address.Wildcards(k.Families)
	}
	l := &listenerv3.Listener{
		Name:             names.Listener(ips[0], g.Port),
		TrafficDirection: corev3.TrafficDirection_OUTBOUND,
		AccessLog:        accesslog.Unmatched(k.AccessLog),
	}
	l.Address, l.AdditionalAddresses = address.Listen(ips, g.Port)
	l.FilterChains = []*listenerv3.FilterChain{chain("", nil, filter.Manager(filter.HTTP{
		Side: filter.Gateway, StatPrefix: names.OutboundStat(l.Name), Route: g.Route, Log: k.AccessLog,
	}))}
	open(l)
	return l
}
