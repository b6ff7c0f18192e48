package listener

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluicemesh/sluice/xds/envoy/accesslog"
	"github.com/sluicemesh/sluice/xds/envoy/address"
	"github.com/sluicemesh/sluice/xds/envoy/filter"
	"github.com/sluicemesh/sluice/xds/envoy/route"
	"github.com/sluicemesh/sluice/xds/envoy/tlscontext"
	"github.com/sluicemesh/sluice/xds/ir"
	"github.com/sluicemesh/sluice/xds/names"
)

// InboundPort is one port of the pod that a Service targets.
type InboundPort struct {
	Port     uint16 // target port
	Protocol ir.Protocol
	MTLS     MTLS
	// Host and ServicePort name the (oldest) Service, for traces.
	Host        string
	ServicePort uint16
}

// Inbound is everything the pod receives.
type Inbound struct {
	Ports []InboundPort // unique ports, ascending
	MTLS  MTLS          // of ports that no Service targets
}

// VirtualInbound returns the listener that receives everything sent to the pod. It is nil
// when nothing is intercepted.
//
// Each port has the chains of its protocol and mode (see cells); ports that no Service
// targets share those of undeclared protocol. A connection that no chain takes is closed.
func VirtualInbound(in Inbound, k Key) *listenerv3.Listener {
	if k.Interception == None {
		return nil
	}
	l := &listenerv3.Listener{
		Name:                             names.VirtualInbound,
		TrafficDirection:                 corev3.TrafficDirection_INBOUND,
		ContinueOnListenerFiltersTimeout: true,
		ListenerFiltersTimeout:           durationpb.New(k.DetectionTimeout),
		ListenerFilters:                  inboundFilters(in, k),
		AccessLog:                        accesslog.Unmatched(k.AccessLog),
		FilterChains: []*listenerv3.FilterChain{
			chain(names.InboundBlackholeChain, onPort(k.InboundPort), forward(names.BlackHoleCluster, k)),
		},
	}
	l.Address, l.AdditionalAddresses = address.Listen(address.Wildcards(k.Families), k.InboundPort)
	if k.Interception == TProxy {
		l.Transparent = wrapperspb.Bool(true)
	}
	open(l)
	for _, p := range in.Ports {
		name := names.Listener(address.Wildcards(k.Families)[0], p.Port)
		t := inboundTarget{
			http: name, tcp: name, cluster: names.Inbound(p.Port), stat: names.InboundStat(name), port: p,
		}
		l.FilterChains = append(l.FilterChains, t.chains(k)...)
	}
	rest := inboundTarget{
		http: names.InboundCatchAllHTTP, tcp: names.InboundCatchAllTCP, cluster: names.InboundPassthroughCluster,
		stat: names.InboundPassthroughCluster, port: InboundPort{Protocol: ir.Auto, MTLS: in.MTLS},
	}
	l.FilterChains = append(l.FilterChains, rest.chains(k)...)
	return l
}

// inboundFilters are the listener filters. An inspector waits for a client's first bytes,
// so it is switched off on ports where no chain asks for what it finds: a protocol in
// which the server speaks first would wait for ever.
func inboundFilters(in Inbound, k Key) []*listenerv3.ListenerFilter {
	out := []*listenerv3.ListenerFilter{filter.OriginalDst()}
	if k.Interception == TProxy {
		out = append(out, filter.OriginalSrc())
	}
	noTLS, noHTTP := []uint16{k.InboundPort}, []uint16{k.InboundPort}
	var withTLS []uint16
	for _, p := range in.Ports {
		if asksTLS(cells(p.MTLS, p.Protocol)) {
			withTLS = append(withTLS, p.Port)
		} else {
			noTLS = append(noTLS, p.Port)
		}
		if p.Protocol != ir.Auto {
			noHTTP = append(noHTTP, p.Port)
		}
	}
	switch {
	case asksTLS(cells(in.MTLS, ir.Auto)):
		out = append(out, filter.TLSInspector(filter.OnPorts(noTLS)))
	case len(withTLS) > 0:
		out = append(out, filter.TLSInspector(filter.ExceptPorts(withTLS)))
	}
	return append(out, filter.HTTPInspector(filter.OnPorts(noHTTP)))
}

// inboundTarget is one port, or all ports that no Service targets.
type inboundTarget struct {
	http, tcp string // names of the chains
	cluster   string
	stat      string
	port      InboundPort // Port is 0 for all
}

// chains returns the filter chains of the port.
func (t inboundTarget) chains(k Key) []*listenerv3.FilterChain {
	var out []*listenerv3.FilterChain
	for _, cell := range cells(t.port.MTLS, t.port.Protocol) {
		match := &listenerv3.FilterChainMatch{TransportProtocol: cell.transport, ApplicationProtocols: cell.alpn}
		if t.port.Port != 0 {
			match.DestinationPort = wrapperspb.UInt32(uint32(t.port.Port))
		}
		var c *listenerv3.FilterChain
		if cell.http {
			c = chain(t.http, match, filter.Manager(filter.HTTP{
				Side: filter.Inbound, StatPrefix: t.stat, Log: k.AccessLog,
				Inline: route.Inbound(route.InboundPort{
					Cluster: t.cluster, Host: t.port.Host, Port: t.port.ServicePort, Protocol: t.port.Protocol,
				}),
			}))
		} else {
			c = chain(t.tcp, match, forward(t.cluster, k))
		}
		if cell.mesh {
			c.TransportSocket = tlscontext.Server(k.TrustDomain)
		}
		out = append(out, c)
	}
	return out
}
