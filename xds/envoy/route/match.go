package route

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluicemesh/sluice/xds/ir"
)

// match returns the condition of a route.
func match(m ir.Match) *routev3.RouteMatch {
	out := path(m)
	for _, h := range m.Headers {
		out.Headers = append(out.Headers, header(h))
	}
	for _, h := range []struct {
		name  string
		match *ir.StringMatch
	}{{":method", m.Method}, {":authority", m.Authority}, {":scheme", m.Scheme}} {
		if h.match != nil {
			out.Headers = append(out.Headers, header(ir.KeyMatch{Key: h.name, Match: *h.match}))
		}
	}
	for _, q := range m.Query {
		p := &routev3.QueryParameterMatcher{Name: q.Key}
		if q.Match.Present {
			p.QueryParameterMatchSpecifier = &routev3.QueryParameterMatcher_PresentMatch{PresentMatch: true}
		} else {
			p.QueryParameterMatchSpecifier = &routev3.QueryParameterMatcher_StringMatch{StringMatch: text(q.Match)}
		}
		out.QueryParameters = append(out.QueryParameters, p)
	}
	return out
}

func path(m ir.Match) *routev3.RouteMatch {
	uri := m.URI
	if uri == nil || uri.Present {
		return everything()
	}
	out := &routev3.RouteMatch{}
	switch {
	case uri.Regex != "":
		out.PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: regex(uri.Regex)}
		return out // case is the expression's own business
	case uri.Exact != "":
		out.PathSpecifier = &routev3.RouteMatch_Path{Path: uri.Exact}
	case segments(uri.PathPrefix) != "":
		out.PathSpecifier = &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: segments(uri.PathPrefix)}
	case uri.Prefix != "":
		out.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: uri.Prefix}
	default:
		out = everything()
	}
	if m.IgnoreCase {
		out.CaseSensitive = wrapperspb.Bool(false)
	}
	return out
}

// segments is a path prefix in Envoy's spelling: without a slash at its end. It is empty for
// the prefix that every path has.
func segments(prefix string) string { return strings.TrimRight(prefix, "/") }

// header matches the value of a header. An inverted match holds for a request without the
// header, too: it says that the value is not one.
func header(h ir.KeyMatch) *routev3.HeaderMatcher {
	out := &routev3.HeaderMatcher{Name: h.Key, InvertMatch: h.Invert}
	if h.Match.Present {
		out.HeaderMatchSpecifier = &routev3.HeaderMatcher_PresentMatch{PresentMatch: true}
		return out
	}
	out.TreatMissingHeaderAsEmpty = h.Invert
	out.HeaderMatchSpecifier = &routev3.HeaderMatcher_StringMatch{StringMatch: text(h.Match)}
	return out
}

func text(m ir.StringMatch) *matcherv3.StringMatcher {
	out := &matcherv3.StringMatcher{}
	switch {
	case m.Regex != "":
		out.MatchPattern = &matcherv3.StringMatcher_SafeRegex{SafeRegex: regex(m.Regex)}
	case m.Prefix != "":
		out.MatchPattern = &matcherv3.StringMatcher_Prefix{Prefix: m.Prefix}
	default:
		out.MatchPattern = &matcherv3.StringMatcher_Exact{Exact: m.Exact}
	}
	return out
}

// regex is an RE2 expression that matches the whole value.
func regex(expression string) *matcherv3.RegexMatcher {
	return &matcherv3.RegexMatcher{Regex: expression}
}
