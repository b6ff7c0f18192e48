package virtualservice

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	networkingv1alpha3 "istio.io/api/networking/v1alpha3"

	"github.com/sluicemesh/sluice/xds/api/object"
	"github.com/sluicemesh/sluice/xds/ir"
)

func (c *converter) retries(path string, r *networkingv1alpha3.HTTPRetry) *ir.Retries {
	if r == nil {
		return nil
	}
	if r.Attempts < 0 {
		c.Fatal(path+".attempts", object.InvalidValue, "%d is negative", r.Attempts)
		return nil
	}
	out := &ir.Retries{
		Attempts: uint32(r.Attempts), PerTry: c.duration(path+".perTryTimeout", r.PerTryTimeout),
		Backoff: c.duration(path+".backoff", r.Backoff), RemoteLocality: r.RetryRemoteLocalities.GetValue(),
	}
	if v := r.RetryIgnorePreviousHosts; v != nil {
		out.IgnorePrevious = &v.Value
	}
	for word := range strings.SplitSeq(r.RetryOn, ",") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		if n, err := strconv.Atoi(word); err == nil {
			if n < 100 || n > 599 {
				c.Fatal(path+".retryOn", object.InvalidValue, "%d is not a status", n)
			}
		} else if !slices.Contains(retryConditions(), word) {
			c.Fatal(path+".retryOn", object.InvalidValue, "%q is not a condition that Envoy knows", word)
		}
		out.On = append(out.On, word)
	}
	return out
}

// retryConditions are the words of x-envoy-retry-on and x-envoy-retry-grpc-on.
// Source: Envoy, router filter.
func retryConditions() []string {
	return []string{
		"5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited", "retriable-4xx",
		"refused-stream", "retriable-status-codes", "retriable-headers", "http3-post-connect-failure",
		"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
	}
}

func (c *converter) fault(path string, f *networkingv1alpha3.HTTPFaultInjection) *ir.Fault {
	if f == nil {
		return nil
	}
	out := &ir.Fault{}
	if d := f.Delay; d != nil {
		out.Delay = c.duration(path+".delay.fixedDelay", d.GetFixedDelay())
		if out.Delay == nil {
			c.Fatal(path+".delay", object.Missing, "a delay needs fixedDelay")
		}
		out.DelayPercent = 100
		switch {
		case d.Percentage != nil:
			out.DelayPercent = c.percent(path+".delay.percentage", d.Percentage)
		case d.Percent != 0: //nolint:staticcheck // old spelling that users have
			out.DelayPercent = float64(d.Percent) //nolint:staticcheck // as above
		}
	}
	if a := f.Abort; a != nil {
		c.abort(path+".abort", a, out)
	}
	if f.Delay == nil && f.Abort == nil {
		c.Fatal(path, object.Missing, "a fault needs delay or abort")
	}
	return out
}

func (c *converter) abort(path string, a *networkingv1alpha3.HTTPFaultInjection_Abort, out *ir.Fault) {
	out.AbortPercent = 100
	if a.Percentage != nil {
		out.AbortPercent = c.percent(path+".percentage", a.Percentage)
	}
	status := a.GetHttpStatus()
	out.AbortHTTP, out.AbortGRPC = uint32(max(status, 0)), strings.ToUpper(a.GetGrpcStatus())
	switch {
	case a.GetHttp2Error() != "":
		c.Fatal(path+".http2Error", object.NotSupported, "HTTP/2 errors cannot be injected; use httpStatus or grpcStatus")
	case out.AbortGRPC != "":
		if !slices.Contains(grpcStatuses(), out.AbortGRPC) {
			c.Fatal(path+".grpcStatus", object.InvalidValue, "%q is not a gRPC status; write UNAVAILABLE, for example", a.GetGrpcStatus())
		}
	case status < 200 || status > 599:
		c.Fatal(path+".httpStatus", object.InvalidValue, "%d is not a status; write 200 to 599", status)
	}
}

// grpcStatuses are the status names in the order of their codes.
func grpcStatuses() []string {
	return []string{
		"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
		"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
		"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
	}
}

func (c *converter) cors(path string, p *networkingv1alpha3.CorsPolicy) *ir.CORS {
	if p == nil {
		return nil
	}
	out := &ir.CORS{
		Methods: p.AllowMethods, Headers: p.AllowHeaders, Expose: p.ExposeHeaders, MaxAge: c.duration(path+".maxAge", p.MaxAge),
		IgnoreUnmatched: p.UnmatchedPreflights == networkingv1alpha3.CorsPolicy_IGNORE,
	}
	if v := p.AllowCredentials; v != nil {
		out.Credentials = &v.Value
	}
	for i, m := range p.AllowOrigins {
		if sm := c.stringMatch(fmt.Sprintf("%s.allowOrigins[%d]", path, i), m); sm != nil {
			out.Origins = append(out.Origins, *sm)
		}
	}
	for _, origin := range p.AllowOrigin { //nolint:staticcheck // old spelling that users have
		if origin == "*" {
			out.Origins = append(out.Origins, ir.StringMatch{Regex: ".*"})
			continue
		}
		out.Origins = append(out.Origins, ir.StringMatch{Exact: origin})
	}
	return out
}
