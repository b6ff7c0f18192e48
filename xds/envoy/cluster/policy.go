package cluster

import (
	"math"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluicemesh/sluice/xds/envoy/pack"
	"github.com/sluicemesh/sluice/xds/ir"
)

// balance sets the load-balancing algorithm, unless the cluster's type brings its own.
func balance(c *clusterv3.Cluster, p ir.TrafficPolicy) {
	if c.LbPolicy == clusterv3.Cluster_CLUSTER_PROVIDED {
		return
	}
	switch p.LoadBalancer {
	case ir.RoundRobin:
		c.LbPolicy = clusterv3.Cluster_ROUND_ROBIN
	case ir.Random:
		c.LbPolicy = clusterv3.Cluster_RANDOM
	case ir.RingHash:
		c.LbPolicy = clusterv3.Cluster_RING_HASH
		if p.MinimumRingSize > 0 {
			c.LbConfig = &clusterv3.Cluster_RingHashLbConfig_{RingHashLbConfig: &clusterv3.Cluster_RingHashLbConfig{
				MinimumRingSize: wrapperspb.UInt64(p.MinimumRingSize),
			}}
		}
	case ir.Maglev:
		c.LbPolicy = clusterv3.Cluster_MAGLEV
		if p.MaglevTableSize > 0 {
			c.LbConfig = &clusterv3.Cluster_MaglevLbConfig_{MaglevLbConfig: &clusterv3.Cluster_MaglevLbConfig{
				TableSize: wrapperspb.UInt64(p.MaglevTableSize),
			}}
		}
	case ir.LeastRequest, ir.PassthroughLB: // gateways have no original destination
		c.LbPolicy = clusterv3.Cluster_LEAST_REQUEST
	}
}

func breakers(p ir.TrafficPolicy) *clusterv3.CircuitBreakers {
	limit := func(n *uint32) *wrapperspb.UInt32Value {
		if n == nil {
			return wrapperspb.UInt32(math.MaxUint32)
		}
		return wrapperspb.UInt32(*n)
	}
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections:     limit(p.MaxConnections),
		MaxPendingRequests: limit(p.MaxPending),
		MaxRequests:        limit(p.MaxRequests),
		MaxRetries:         limit(p.MaxRetries),
	}}}
}

func keepalive(k *ir.TCPKeepalive) *clusterv3.UpstreamConnectionOptions {
	if k == nil {
		return nil
	}
	seconds := func(n float64) *wrapperspb.UInt32Value {
		if n <= 0 {
			return nil
		}
		return wrapperspb.UInt32(uint32(n))
	}
	return &clusterv3.UpstreamConnectionOptions{TcpKeepalive: &corev3.TcpKeepalive{
		KeepaliveProbes:   seconds(float64(k.Probes)),
		KeepaliveTime:     seconds(k.Time.Seconds()),
		KeepaliveInterval: seconds(k.Interval.Seconds()),
	}}
}

// outlier returns outlier detection, nil for none. A count of zero switches its check off.
// Success rates never eject: no user asked for it.
func outlier(o *ir.Outlier) *clusterv3.OutlierDetection {
	if o == nil {
		return nil
	}
	d := &clusterv3.OutlierDetection{
		Interval:             pack.Duration(o.Interval),
		BaseEjectionTime:     pack.Duration(o.BaseEjection),
		MaxEjectionPercent:   pack.UInt32(o.MaxEjectionPercent),
		EnforcingSuccessRate: wrapperspb.UInt32(0),
	}
	d.Consecutive_5Xx, d.EnforcingConsecutive_5Xx = check(o.Consecutive5xx)
	d.ConsecutiveGatewayFailure, d.EnforcingConsecutiveGatewayFailure = check(o.ConsecutiveGateway)
	if o.SplitLocal {
		d.SplitExternalLocalOriginErrors = true
		d.ConsecutiveLocalOriginFailure, d.EnforcingConsecutiveLocalOriginFailure = check(o.ConsecutiveLocal)
		d.EnforcingLocalOriginSuccessRate = wrapperspb.UInt32(0)
	}
	return d
}

// check returns a count of failures and the percentage of ejections that really happen.
func check(n *uint32) (count, enforcing *wrapperspb.UInt32Value) {
	switch {
	case n == nil:
		return nil, nil
	case *n == 0:
		return nil, wrapperspb.UInt32(0)
	}
	return wrapperspb.UInt32(*n), wrapperspb.UInt32(100)
}

// panicThreshold says below which share of healthy endpoints traffic goes to unhealthy
// ones as well: never, unless the user says so. Endpoints that are not ready are sent as
// unhealthy, and must get no traffic.
func panicThreshold(c *clusterv3.Cluster, o *ir.Outlier) {
	if o == nil && c.GetType() != clusterv3.Cluster_EDS {
		return
	}
	percent := &typev3.Percent{}
	if o != nil && o.MinHealthPercent != nil {
		percent.Value = float64(*o.MinHealthPercent)
	}
	c.CommonLbConfig = &clusterv3.Cluster_CommonLbConfig{HealthyPanicThreshold: percent}
}
