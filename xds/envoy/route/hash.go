package route

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/sluicemesh/sluice/xds/envoy/pack"
	"github.com/sluicemesh/sluice/xds/ir"
)

func sameHash(a, b *ir.HashOn) bool {
	sameTTL := a.CookieTTL == b.CookieTTL || a.CookieTTL != nil && b.CookieTTL != nil && *a.CookieTTL == *b.CookieTTL
	x, y := *a, *b
	x.CookieTTL, y.CookieTTL = nil, nil
	return sameTTL && x == y
}

func hashPolicy(h *ir.HashOn) *routev3.RouteAction_HashPolicy {
	out := &routev3.RouteAction_HashPolicy{}
	switch {
	case h.Header != "":
		out.PolicySpecifier = &routev3.RouteAction_HashPolicy_Header_{
			Header: &routev3.RouteAction_HashPolicy_Header{HeaderName: h.Header},
		}
	case h.Cookie != "":
		out.PolicySpecifier = &routev3.RouteAction_HashPolicy_Cookie_{
			Cookie: &routev3.RouteAction_HashPolicy_Cookie{Name: h.Cookie, Path: h.CookiePath, Ttl: pack.Duration(h.CookieTTL)},
		}
	case h.QueryParam != "":
		out.PolicySpecifier = &routev3.RouteAction_HashPolicy_QueryParameter_{
			QueryParameter: &routev3.RouteAction_HashPolicy_QueryParameter{Name: h.QueryParam},
		}
	default:
		out.PolicySpecifier = &routev3.RouteAction_HashPolicy_ConnectionProperties_{
			ConnectionProperties: &routev3.RouteAction_HashPolicy_ConnectionProperties{SourceIp: h.SourceIP},
		}
	}
	return out
}
