package destinationrule

import (
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	networkingv1alpha3 "istio.io/api/networking/v1alpha3"

	"github.com/sluicemesh/sluice/xds/api/object"
	"github.com/sluicemesh/sluice/xds/ir"
)

// convert makes the policy of its blocks. The problems of a block that subsets inherit are
// noted once.
func (c *converter) convert(b blocks) ir.TrafficPolicy {
	mark := len(c.Problems)
	var out ir.TrafficPolicy
	c.balancer(b.paths[0]+".loadBalancer", b.balancer, &out)
	c.tcp(b.paths[1]+".connectionPool.tcp", b.pool.GetTcp(), &out)
	c.http(b.paths[1]+".connectionPool.http", b.pool.GetHttp(), &out)
	c.outlier(b.paths[2]+".outlierDetection", b.outlier, &out)
	c.tls(b.paths[3]+".tls", b.tls, &out)
	known := c.Problems[:mark:mark]
	for _, p := range c.Problems[mark:] {
		if !slices.Contains(known, p) {
			known = append(known, p)
		}
	}
	c.Problems = known
	return out
}

func (c *converter) balancer(path string, lb *networkingv1alpha3.LoadBalancerSettings, out *ir.TrafficPolicy) {
	switch lb.GetSimple() {
	case networkingv1alpha3.LoadBalancerSettings_ROUND_ROBIN:
		out.LoadBalancer = ir.RoundRobin
	case networkingv1alpha3.LoadBalancerSettings_RANDOM:
		out.LoadBalancer = ir.Random
	case networkingv1alpha3.LoadBalancerSettings_PASSTHROUGH:
		out.LoadBalancer = ir.PassthroughLB
	default:
		out.LoadBalancer = ir.LeastRequest
	}
	hash := lb.GetConsistentHash()
	if hash == nil {
		return
	}
	out.LoadBalancer = ir.RingHash
	out.MinimumRingSize = hash.MinimumRingSize //nolint:staticcheck // old spelling that users have
	if ring := hash.GetRingHash(); ring != nil {
		out.MinimumRingSize = ring.MinimumRingSize
	}
	if maglev := hash.GetMaglev(); maglev != nil {
		out.LoadBalancer, out.MaglevTableSize = ir.Maglev, maglev.TableSize
	}
	on := &ir.HashOn{Header: hash.GetHttpHeaderName(), SourceIP: hash.GetUseSourceIp(), QueryParam: hash.GetHttpQueryParameterName()}
	if cookie := hash.GetHttpCookie(); cookie != nil {
		on.Cookie, on.CookiePath, on.CookieTTL = cookie.Name, cookie.Path, c.duration(path+".consistentHash.httpCookie.ttl", cookie.Ttl)
		if cookie.Name == "" {
			c.Fatal(path+".consistentHash.httpCookie.name", object.Missing, "a cookie needs a name")
		}
	}
	if *on == (ir.HashOn{}) {
		c.Fatal(path+".consistentHash", object.Missing, "set one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName")
		return
	}
	out.Hash = on
}

func (c *converter) tcp(path string, p *networkingv1alpha3.ConnectionPoolSettings_TCPSettings, out *ir.TrafficPolicy) {
	if p == nil {
		return
	}
	out.MaxConnections = c.limit(path+".maxConnections", p.MaxConnections)
	out.ConnectTimeout = c.duration(path+".connectTimeout", p.ConnectTimeout)
	out.TCPIdleTimeout = c.duration(path+".idleTimeout", p.IdleTimeout)
	if k := p.TcpKeepalive; k != nil {
		out.TCPKeepalive = &ir.TCPKeepalive{Probes: k.Probes, Time: k.Time.AsDuration(), Interval: k.Interval.AsDuration()}
	}
}

func (c *converter) http(path string, p *networkingv1alpha3.ConnectionPoolSettings_HTTPSettings, out *ir.TrafficPolicy) {
	if p == nil {
		return
	}
	out.MaxPending = c.limit(path+".http1MaxPendingRequests", p.Http1MaxPendingRequests)
	out.MaxRequests = c.limit(path+".http2MaxRequests", p.Http2MaxRequests)
	out.MaxReqPerConn = c.limit(path+".maxRequestsPerConnection", p.MaxRequestsPerConnection)
	out.MaxRetries = c.limit(path+".maxRetries", p.MaxRetries)
	out.HTTPIdle = c.duration(path+".idleTimeout", p.IdleTimeout)
	out.UpgradeHTTP2 = p.H2UpgradePolicy == networkingv1alpha3.ConnectionPoolSettings_HTTPSettings_UPGRADE
	out.UseClientProto = p.UseClientProtocol
	if out.UpgradeHTTP2 && out.UseClientProto {
		c.Fatal(path+".useClientProtocol", object.Conflict, "h2UpgradePolicy UPGRADE and useClientProtocol exclude each other; keep one")
	}
}

func (c *converter) outlier(path string, o *networkingv1alpha3.OutlierDetection, out *ir.TrafficPolicy) {
	if o == nil {
		return
	}
	got := &ir.Outlier{
		SplitLocal: o.SplitExternalLocalOriginErrors, Interval: c.duration(path+".interval", o.Interval),
		BaseEjection:       c.duration(path+".baseEjectionTime", o.BaseEjectionTime),
		MaxEjectionPercent: c.percent(path+".maxEjectionPercent", o.MaxEjectionPercent),
		MinHealthPercent:   c.percent(path+".minHealthPercent", o.MinHealthPercent),
	}
	if v := o.Consecutive_5XxErrors; v != nil {
		got.Consecutive5xx = &v.Value
	}
	if v := o.ConsecutiveGatewayErrors; v != nil {
		got.ConsecutiveGateway = &v.Value
	}
	if v := o.ConsecutiveLocalOriginFailures; v != nil {
		got.ConsecutiveLocal = &v.Value
	}
	out.Outlier = got
}

func (c *converter) tls(path string, t *networkingv1alpha3.ClientTLSSettings, out *ir.TrafficPolicy) {
	if t == nil {
		return
	}
	out.SNI, out.SubjectAlts, out.CACertificates = t.Sni, t.SubjectAltNames, t.CaCertificates
	out.SkipVerify = t.InsecureSkipVerify.GetValue()
	if t.CredentialName != "" {
		c.Fatal(path+".credentialName", object.NotSupported, "credentials from Secrets are not supported yet; mount them and use caCertificates, clientCertificate and privateKey")
	}
	switch t.Mode {
	case networkingv1alpha3.ClientTLSSettings_DISABLE:
		out.TLS = ir.DisableTLS
	case networkingv1alpha3.ClientTLSSettings_SIMPLE:
		out.TLS = ir.SimpleTLS
	case networkingv1alpha3.ClientTLSSettings_MUTUAL:
		out.TLS, out.ClientCert, out.PrivateKey = ir.MutualTLS, t.ClientCertificate, t.PrivateKey
		if t.CredentialName == "" && (t.ClientCertificate == "" || t.PrivateKey == "") {
			c.Fatal(path, object.Missing, "mode MUTUAL needs clientCertificate and privateKey")
		}
	case networkingv1alpha3.ClientTLSSettings_ISTIO_MUTUAL:
		out.TLS = ir.MeshMutualTLS
		if t.ClientCertificate != "" || t.PrivateKey != "" || t.CaCertificates != "" {
			c.Fatal(path, object.Conflict, "mode ISTIO_MUTUAL uses the mesh's certificates; remove clientCertificate, privateKey and caCertificates")
		}
	}
}

// limit reads a count; 0 is unset.
func (c *converter) limit(path string, n int32) *uint32 {
	if n < 0 {
		c.Fatal(path, object.InvalidValue, "%d is negative", n)
	}
	if n <= 0 {
		return nil
	}
	v := uint32(n)
	return &v
}

// percent reads a percentage; 0 is unset.
func (c *converter) percent(path string, n int32) *uint32 {
	if n > 100 {
		c.Fatal(path, object.InvalidValue, "%d is not a percentage; write 0 to 100", n)
	}
	return c.limit(path, n)
}

func (c *converter) duration(path string, d *durationpb.Duration) *time.Duration {
	if d == nil {
		return nil
	}
	v := d.AsDuration()
	if v < 0 {
		c.Fatal(path, object.InvalidValue, "%s is negative", v)
	}
	return &v
}
