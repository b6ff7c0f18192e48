package cluster

import (
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	commondnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/common/dns/v3"
	dnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	caresv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/network/dns_resolver/cares/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy/endpoint"
	"github.com/sluicemesh/sluice/xds/envoy/pack"
	"github.com/sluicemesh/sluice/xds/ir"
)

const (
	dnsJitter     = 100 * time.Millisecond
	maxDNSQueries = 100 // per UDP socket: a socket that got stuck is left behind
)

// kind is how the cluster finds its endpoints, in the words of Envoy's older cluster types.
func (o Outbound) kind(k Key) clusterv3.Cluster_DiscoveryType {
	s := o.Service
	switch {
	case !k.Router && o.Policy.LoadBalancer == ir.PassthroughLB:
		return clusterv3.Cluster_ORIGINAL_DST
	case s.Registry == ir.External && len(s.Selector) > 0:
		return clusterv3.Cluster_EDS
	case s.Resolution == ir.DNS:
		return clusterv3.Cluster_STRICT_DNS
	case s.Resolution == ir.DNSRoundRobin && len(o.Endpoints) > 1:
		return clusterv3.Cluster_STRICT_DNS // Envoy takes one name where one address is used
	case s.Resolution == ir.DNSRoundRobin:
		return clusterv3.Cluster_LOGICAL_DNS
	case s.Resolution == ir.Passthrough && !k.Router:
		return clusterv3.Cluster_ORIGINAL_DST
	}
	return clusterv3.Cluster_EDS
}

// discover sets how c finds its endpoints. It reports false if it never could find any.
func discover(c *clusterv3.Cluster, o Outbound, k Key) bool {
	kind := o.kind(k)
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: kind}
	switch kind {
	case clusterv3.Cluster_EDS:
		c.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{EdsConfig: pack.ADS(), ServiceName: c.Name}
	case clusterv3.Cluster_ORIGINAL_DST:
		c.LbPolicy = clusterv3.Cluster_CLUSTER_PROVIDED
		// Headless services are dialled at the pod's own port; a ServiceEntry may say otherwise.
		if o.Service.Registry == ir.External && o.Port.Target != 0 && o.Port.Target != o.Port.Number {
			c.LbConfig = &clusterv3.Cluster_OriginalDstLbConfig_{OriginalDstLbConfig: &clusterv3.Cluster_OriginalDstLbConfig{
				UpstreamPortOverride: wrapperspb.UInt32(uint32(o.Port.Target)),
			}}
		}
	default:
		eps := dnsEndpoints(o)
		if len(eps) == 0 {
			return false
		}
		var subset ir.Labels
		if o.Subset != nil {
			subset = o.Subset.Labels
		}
		c.LoadAssignment = endpoint.Build(c.Name, eps, subset, endpoint.Key{Families: k.Families, MarkPlain: MarksPlain(o, k)})
		if len(c.LoadAssignment.Endpoints) == 0 {
			return false
		}
		resolve(c, kind, k)
	}
	return true
}

// dnsEndpoints are the names to resolve: the written ones, else the host itself. A wildcard
// host has none.
func dnsEndpoints(o Outbound) []ir.Endpoint {
	host := o.Service.ID.Host
	switch {
	case len(o.Endpoints) > 0:
		return o.Endpoints
	case strings.HasPrefix(host, "*"):
		return nil
	}
	port := o.Port.Target
	if port == 0 {
		port = o.Port.Number
	}
	ep := ir.Endpoint{Address: host, Port: port, Weight: 1}
	if o.Subset != nil { // the host itself is in every subset
		ep.Labels = o.Subset.Labels
	}
	return []ir.Endpoint{ep}
}

// resolve sets how names are resolved: by the cluster extension for DNS, of which
// STRICT_DNS and LOGICAL_DNS are older spellings with fields that Envoy 1.40 warns of.
func resolve(c *clusterv3.Cluster, kind clusterv3.Cluster_DiscoveryType, k Key) {
	dns := &dnsv3.DnsCluster{
		DnsJitter:       durationpb.New(dnsJitter),
		RespectDnsTtl:   true,
		DnsLookupFamily: lookupFamily(k.Families),
		TypedDnsResolverConfig: &corev3.TypedExtensionConfig{
			Name:        "envoy.network.dns_resolver.cares",
			TypedConfig: pack.Any(&caresv3.CaresDnsResolverConfig{UdpMaxQueries: wrapperspb.UInt32(maxDNSQueries)}),
		},
		AllAddressesInSingleEndpoint: kind == clusterv3.Cluster_LOGICAL_DNS,
	}
	if k.DNSRefresh > 0 { // Envoy takes no zero; its default is 5 s
		dns.DnsRefreshRate = durationpb.New(k.DNSRefresh)
	}
	c.ClusterDiscoveryType = &clusterv3.Cluster_ClusterType{ClusterType: &clusterv3.Cluster_CustomClusterType{
		Name: "envoy.cluster.dns", TypedConfig: pack.Any(dns),
	}}
}

func lookupFamily(f class.Families) commondnsv3.DnsLookupFamily {
	switch f & (class.IPv4 | class.IPv6) {
	case class.IPv4 | class.IPv6:
		return commondnsv3.DnsLookupFamily_ALL
	case class.IPv6:
		return commondnsv3.DnsLookupFamily_V6_ONLY
	}
	return commondnsv3.DnsLookupFamily_V4_ONLY
}
