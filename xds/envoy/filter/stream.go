package filter

import (
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/sluicemesh/sluice/xds/envoy/accesslog"
	"github.com/sluicemesh/sluice/xds/envoy/pack"
)

// WeightedCluster is one of several destinations of a connection.
type WeightedCluster struct {
	Name   string
	Weight uint32
}

// Stream is what a TCP proxy is made from.
type Stream struct {
	StatPrefix  string
	Clusters    []WeightedCluster // at least one; a single one may have weight 0
	IdleTimeout *time.Duration    // nil: Envoy's default of one hour
	HashSource  bool              // consistent hash over the source address
	Log         accesslog.Config
}

// TCP returns the network filter that forwards bytes. Of several destinations those of
// weight 0 are left out, which Envoy would reject.
func TCP(s Stream) *listenerv3.Filter {
	p := &tcpv3.TcpProxy{
		StatPrefix:  s.StatPrefix,
		AccessLog:   accesslog.Requests(s.Log),
		IdleTimeout: pack.Duration(s.IdleTimeout),
	}
	if len(s.Clusters) == 1 {
		p.ClusterSpecifier = &tcpv3.TcpProxy_Cluster{Cluster: s.Clusters[0].Name}
	} else {
		weighted := &tcpv3.TcpProxy_WeightedCluster{}
		for _, c := range s.Clusters {
			if c.Weight > 0 {
				weighted.Clusters = append(weighted.Clusters, &tcpv3.TcpProxy_WeightedCluster_ClusterWeight{Name: c.Name, Weight: c.Weight})
			}
		}
		p.ClusterSpecifier = &tcpv3.TcpProxy_WeightedClusters{WeightedClusters: weighted}
	}
	if s.HashSource {
		p.HashPolicy = []*typev3.HashPolicy{{
			PolicySpecifier: &typev3.HashPolicy_SourceIp_{SourceIp: &typev3.HashPolicy_SourceIp{}},
		}}
	}
	return network(tcpProxy, p)
}
