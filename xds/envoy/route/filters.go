package route

import (
	"math"
	"slices"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	commonfaultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/fault/v3"
	commonstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	statev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluicemesh/sluice/xds/envoy/filter"
	"github.com/sluicemesh/sluice/xds/envoy/pack"
	"github.com/sluicemesh/sluice/xds/envoy/tlscontext"
	"github.com/sluicemesh/sluice/xds/ir"
)

// setFilters adds the route's own configuration of filters.
func setFilters(out *routev3.Route, in *ir.Route) {
	put := func(name string, config *anypb.Any) {
		if out.TypedPerFilterConfig == nil {
			out.TypedPerFilterConfig = map[string]*anypb.Any{}
		}
		out.TypedPerFilterConfig[name] = config
	}
	if in.Fault != nil {
		put(filter.Fault, pack.Any(fault(*in.Fault)))
	}
	if in.CORS != nil {
		put(filter.CORS, pack.Any(cors(*in.CORS)))
	}
}

// alpnConfig makes a route choose the ALPN list of its mesh connections, nil for none.
//
// Istio has a filter of its own for this (istio.alpn). Stock Envoy takes the list from the
// filter state that is set here, when the route is known: a list chosen earlier, by the
// listener, would also meet routes to clusters of a declared protocol and contradict it.
func alpnConfig(by tlscontext.ALPN) map[string]*anypb.Any {
	http1 := strings.Join(tlscontext.HTTP1Protocols(), ",")
	var list string
	switch by {
	case tlscontext.ByRequest:
		list = "%CEL(request.protocol == 'HTTP/2' ? '" + strings.Join(tlscontext.HTTP2Protocols(), ",") + "' : '" + http1 + "')%"
	case tlscontext.ByHTTP1:
		list = http1
	case tlscontext.ByCluster:
		return nil
	}
	config := &statev3.Config{OnRequestHeaders: []*commonstatev3.FilterStateValue{{
		Key: &commonstatev3.FilterStateValue_ObjectKey{ObjectKey: "envoy.network.application_protocols"},
		Value: &commonstatev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
				Specifier: &corev3.DataSource_InlineString{InlineString: list},
			}},
		}},
	}}}
	return map[string]*anypb.Any{filter.SetFilterState: pack.Any(config)}
}

func fault(f ir.Fault) *faultv3.HTTPFault {
	out := &faultv3.HTTPFault{}
	if f.Delay != nil {
		out.Delay = &commonfaultv3.FaultDelay{
			FaultDelaySecifier: &commonfaultv3.FaultDelay_FixedDelay{FixedDelay: pack.Duration(f.Delay)},
			Percentage:         percent(f.DelayPercent),
		}
	}
	switch {
	case f.AbortGRPC != "":
		code, _ := GRPCStatus(f.AbortGRPC)
		out.Abort = &faultv3.FaultAbort{
			ErrorType: &faultv3.FaultAbort_GrpcStatus{GrpcStatus: code}, Percentage: percent(f.AbortPercent),
		}
	case f.AbortHTTP != 0:
		out.Abort = &faultv3.FaultAbort{
			ErrorType: &faultv3.FaultAbort_HttpStatus{HttpStatus: f.AbortHTTP}, Percentage: percent(f.AbortPercent),
		}
	}
	return out
}

// grpcUnknown is the status UNKNOWN.
const grpcUnknown = 2

// GRPCStatus returns the number of a gRPC status given by its name ("UNAVAILABLE") or as a
// number. For any other word it returns UNKNOWN and false.
func GRPCStatus(word string) (code uint32, ok bool) {
	statuses := []string{
		"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
		"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
		"UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
	}
	if i := slices.Index(statuses, strings.ToUpper(word)); i >= 0 {
		return uint32(i), true
	}
	if n, err := strconv.ParseUint(word, 10, 32); err == nil && n < uint64(len(statuses)) {
		return uint32(n), true
	}
	return grpcUnknown, false
}

func cors(c ir.CORS) *corsv3.CorsPolicy {
	out := &corsv3.CorsPolicy{
		AllowMethods:  strings.Join(c.Methods, ","),
		AllowHeaders:  strings.Join(c.Headers, ","),
		ExposeHeaders: strings.Join(c.Expose, ","),
		FilterEnabled: &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{
			Numerator: 100, Denominator: typev3.FractionalPercent_HUNDRED,
		}},
		ForwardNotMatchingPreflights: wrapperspb.Bool(!c.IgnoreUnmatched),
	}
	for _, o := range c.Origins {
		out.AllowOriginStringMatch = append(out.AllowOriginStringMatch, text(o))
	}
	if c.MaxAge != nil {
		out.MaxAge = strconv.FormatInt(int64(c.MaxAge.Seconds()), 10)
	}
	if c.Credentials != nil {
		out.AllowCredentials = wrapperspb.Bool(*c.Credentials)
	}
	return out
}

// percent is 0 to 100 as Envoy takes it, to the ten-thousandth part.
func percent(p float64) *typev3.FractionalPercent {
	return &typev3.FractionalPercent{
		Numerator:   uint32(math.Round(min(max(p, 0), 100) * 10000)),
		Denominator: typev3.FractionalPercent_MILLION,
	}
}
