package cluster

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluicemesh/sluice/xds/envoy/address"
	"github.com/sluicemesh/sluice/xds/ir"
	"github.com/sluicemesh/sluice/xds/names"
)

const (
	// never is the longest interval Envoy takes, 292 years: the application's address does
	// not go away while the proxy lives.
	never = 9223372035 * time.Second
	// passthroughIdle closes idle HTTP connections to unknown destinations; a proxy may
	// meet very many of those.
	passthroughIdle = 5 * time.Minute
)

// Inbound is one port of the pod that some Service targets.
type Inbound struct {
	Port     uint16 // target port
	Protocol ir.Protocol
	// Owners are the Services that share the port, oldest first.
	Owners []Owner
	// Policy are the connection limits of the oldest owner's DestinationRule.
	Policy ir.TrafficPolicy
}

// BuildInbound returns the cluster through which the proxy reaches its own application: at
// the address the client dialled, from 127.0.0.6.
func BuildInbound(in Inbound, k Key) *clusterv3.Cluster {
	c := originalDst(names.Inbound(in.Port))
	c.CleanupInterval = durationpb.New(never)
	c.UpstreamBindConfig = address.BindSource(address.InboundSources(k.Families))
	c.Metadata = metadata(in.Owners, Outbound{})
	limits(c, in.Policy, k.ConnectTimeout)
	c.TypedExtensionProtocolOptions = protocolOptions(options{
		protocol: plainProtocol(in.Protocol, false), idle: in.Policy.HTTPIdle, maxRequests: in.Policy.MaxReqPerConn,
	})
	return c
}

// Passthrough returns PassthroughCluster: where the client was going.
func Passthrough(k Key) *clusterv3.Cluster {
	c := originalDst(names.PassthroughCluster)
	limits(c, ir.TrafficPolicy{}, k.ConnectTimeout)
	c.TypedExtensionProtocolOptions = protocolOptions(options{protocol: downstream, idle: idle(passthroughIdle)})
	return c
}

// InboundPassthrough returns InboundPassthroughCluster: the application's ports that no
// Service names.
func InboundPassthrough(k Key) *clusterv3.Cluster {
	c := Passthrough(k)
	c.Name, c.AltStatName = names.InboundPassthroughCluster, names.AltStat(names.InboundPassthroughCluster)
	c.UpstreamBindConfig = address.BindSource(address.InboundSources(k.Families))
	return c
}

// BlackHole returns BlackHoleCluster: no endpoint, so that connections are closed.
func BlackHole(k Key) *clusterv3.Cluster {
	c := &clusterv3.Cluster{
		Name:                 names.BlackHoleCluster,
		AltStatName:          names.AltStat(names.BlackHoleCluster),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
	}
	if k.ConnectTimeout > 0 {
		c.ConnectTimeout = durationpb.New(k.ConnectTimeout)
	}
	return c
}

func originalDst(name string) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 name,
		AltStatName:          names.AltStat(name),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_ORIGINAL_DST},
		LbPolicy:             clusterv3.Cluster_CLUSTER_PROVIDED,
	}
}

func idle(d time.Duration) *time.Duration { return &d }
