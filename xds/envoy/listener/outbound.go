package listener

import (
	"net/netip"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluicemesh/sluice/xds/envoy/accesslog"
	"github.com/sluicemesh/sluice/xds/envoy/address"
	"github.com/sluicemesh/sluice/xds/envoy/filter"
	"github.com/sluicemesh/sluice/xds/names"
)

// Transport and application protocols that inspectors detect.
const (
	rawTransport = "raw_buffer"
	tlsTransport = "tls"
)

// plainHTTP are what the HTTP inspector finds.
func plainHTTP() []string { return []string{"http/1.1", "h2c"} }

// Outbound is one address and port that applications connect to, with every service that
// is reached there.
type Outbound struct {
	// Addresses are the service's, the primary first; empty for all addresses (the wildcard).
	Addresses []netip.Addr
	Port      uint16
	// Route is the table of the HTTP traffic, empty if the port carries none.
	Route string
	// Streams are the TCP chains, in order, with distinct matches. At most one has no match;
	// it takes what nothing else takes.
	Streams []Stream
}

// Stream is where connections go that are not parsed as HTTP.
type Stream struct {
	SNI         []string // server names; empty: any
	Subnets     []netip.Prefix
	Clusters    []WeightedCluster // at least one
	StatPrefix  string            // empty: the name of the first cluster
	IdleTimeout *time.Duration    // nil: Envoy's default
	HashSource  bool              // consistent hash over the source address
}

// WeightedCluster is one of several destinations; a single one may have weight 0.
type WeightedCluster = filter.WeightedCluster

// BuildOutbound returns the listener of one address and port, named after the first
// address. It is not bound: virtualOutbound hands connections to it; only where nothing is
// intercepted it is, on loopback.
//
// HTTP is told from other bytes by inspection. What no chain takes goes to the stream
// without a match, or else to where it was going (Key.Outbound).
func BuildOutbound(o Outbound, k Key) *listenerv3.Listener {
	ips := o.Addresses
	switch {
	case k.Interception == None:
		ips = address.Loopbacks(k.Families)
	case len(ips) == 0:
		ips = address.Wildcards(k.Families)
	}
	l := &listenerv3.Listener{
		Name:                             names.Listener(ips[0], o.Port),
		TrafficDirection:                 corev3.TrafficDirection_OUTBOUND,
		ContinueOnListenerFiltersTimeout: true,
		ListenerFiltersTimeout:           durationpb.New(0),
		AccessLog:                        accesslog.Unmatched(k.AccessLog),
	}
	l.Address, l.AdditionalAddresses = address.Listen(ips, o.Port)
	if k.Interception == None {
		open(l)
	} else {
		l.BindToPort = wrapperspb.Bool(false)
	}
	inspectors(l, o, k)
	outboundChains(l, o, k)
	return l
}

// inspectors adds the listener filters that the chains' matches need.
func inspectors(l *listenerv3.Listener, o Outbound, k Key) {
	for _, s := range o.Streams {
		if len(s.SNI) > 0 {
			l.ListenerFilters = append(l.ListenerFilters, filter.TLSInspector(nil))
			break
		}
	}
	if o.Route != "" {
		l.ListenerFilters = append(l.ListenerFilters, filter.HTTPInspector(nil))
		l.ListenerFiltersTimeout = durationpb.New(k.DetectionTimeout)
	}
}

func outboundChains(l *listenerv3.Listener, o Outbound, k Key) {
	if o.Route != "" {
		match := &listenerv3.FilterChainMatch{TransportProtocol: rawTransport, ApplicationProtocols: plainHTTP()}
		l.FilterChains = append(l.FilterChains, chain("", match, filter.Manager(filter.HTTP{
			Side: filter.Outbound, StatPrefix: names.OutboundStat(l.Name), Route: o.Route, Log: k.AccessLog,
		})))
	}
	var rest *listenerv3.FilterChain
	for _, s := range o.Streams {
		match := streamMatch(s)
		c := chain("", match, streamProxy(s, k))
		if match == nil {
			rest = c
		} else {
			l.FilterChains = append(l.FilterChains, c)
		}
	}
	switch {
	case len(l.FilterChains) == 0 && rest != nil:
		l.FilterChains = []*listenerv3.FilterChain{rest}
	case rest != nil:
		l.DefaultFilterChain = rest
	default:
		l.DefaultFilterChain = chain(names.PassthroughFilterChain, nil, forward(unknown(k), k))
	}
}

// streamMatch is nil for a stream that takes everything.
func streamMatch(s Stream) *listenerv3.FilterChainMatch {
	if len(s.SNI) == 0 && len(s.Subnets) == 0 {
		return nil
	}
	match := &listenerv3.FilterChainMatch{ServerNames: s.SNI}
	if len(s.SNI) > 0 {
		match.TransportProtocol = tlsTransport
	}
	for _, p := range s.Subnets {
		match.PrefixRanges = append(match.PrefixRanges, &corev3.CidrRange{
			AddressPrefix: p.Masked().Addr().String(), PrefixLen: wrapperspb.UInt32(uint32(p.Bits())),
		})
	}
	return match
}

func streamProxy(s Stream, k Key) *listenerv3.Filter {
	prefix := s.StatPrefix
	if prefix == "" {
		prefix = s.Clusters[0].Name
	}
	return filter.TCP(filter.Stream{
		StatPrefix: prefix, Clusters: s.Clusters, IdleTimeout: s.IdleTimeout, HashSource: s.HashSource, Log: k.AccessLog,
	})
}

// VirtualOutbound returns the listener that receives everything the pod sends and hands it
// to the listener of its destination: the one of that address and port, else the one of
// all addresses and that port, else its own chains. It is nil when nothing is intercepted.
func VirtualOutbound(k Key) *listenerv3.Listener {
	if k.Interception == None {
		return nil
	}
	l := &listenerv3.Listener{
		Name:             names.VirtualOutbound,
		TrafficDirection: corev3.TrafficDirection_OUTBOUND,
		UseOriginalDst:   wrapperspb.Bool(true),
		AccessLog:        accesslog.Unmatched(k.AccessLog),
		FilterChains: []*listenerv3.FilterChain{
			// Who dials the capture port itself would be sent to it again, for ever.
			chain(names.OutboundBlackholeChain, onPort(k.OutboundPort), forward(names.BlackHoleCluster, k)),
			chain(names.OutboundCatchAllChain, nil, forward(unknown(k), k)),
		},
	}
	l.Address, l.AdditionalAddresses = address.Listen(address.Wildcards(k.Families), k.OutboundPort)
	if k.Interception == TProxy {
		l.Transparent = wrapperspb.Bool(true)
	}
	open(l)
	return l
}

func onPort(port uint16) *listenerv3.FilterChainMatch {
	return &listenerv3.FilterChainMatch{DestinationPort: wrapperspb.UInt32(uint32(port))}
}
