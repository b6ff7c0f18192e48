package route

import (
	"regexp"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluicemesh/sluice/xds/envoy/pack"
	"github.com/sluicemesh/sluice/xds/ir"
	"github.com/sluicemesh/sluice/xds/names"
)

// rule returns one route. port names its operation in traces.
func rule(r *Rule, port uint16) *routev3.Route {
	in := &r.Route
	out := &routev3.Route{Name: in.Name, Match: match(in.Match), Decorator: decorator(r, port)}
	if r.From.Name != "" {
		out.Metadata = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
			"istio": pack.Strings("config", names.VirtualServicePath(r.From.Namespace, r.From.Name)),
		}}
	}
	applyHeaders(headerTarget{&out.RequestHeadersToAdd, &out.RequestHeadersToRemove}, in.Request)
	applyHeaders(headerTarget{&out.ResponseHeadersToAdd, &out.ResponseHeadersToRemove}, in.Response)
	switch {
	case in.Redirect != nil:
		out.Action = &routev3.Route_Redirect{Redirect: redirect(*in.Redirect, in.Match)}
	case in.Direct != nil:
		out.Action = &routev3.Route_DirectResponse{DirectResponse: answer(in.Direct.Status, in.Direct.Body)}
	default:
		forward(out, r)
	}
	setFilters(out, in)
	return out
}

// decorator names the operation in traces: where a request goes and by which path it came.
// Of several destinations the name is the VirtualService's.
func decorator(r *Rule, port uint16) *routev3.Decorator {
	target := r.From.Name
	if len(r.Targets) == 1 {
		if o, ok := names.ParseOutbound(r.Targets[0].Cluster); ok {
			target, port = o.Host, o.Port
		}
	}
	uri := "/*"
	if m := r.Route.Match.URI; m != nil {
		switch {
		case m.Exact != "":
			uri = m.Exact
		case m.Regex != "":
			uri = m.Regex
		case m.Prefix != "" || m.PathPrefix != "":
			uri = m.Prefix + m.PathPrefix + "*"
		}
	}
	return &routev3.Decorator{Operation: names.VirtualHost(target, port) + uri}
}

// forward sets the action of a route to backends.
func forward(out *routev3.Route, r *Rule) {
	in := &r.Route
	action := &routev3.RouteAction{}
	action.HashPolicy = hashPolicies(r.Targets)
	action.RetryPolicy = retries(in.Retries, len(action.HashPolicy) > 0)
	action.RequestMirrorPolicies = mirrors(in.Mirrors, r.Mirrors)
	setTimeout(action, in.Timeout)
	rewrite(action, in)
	if !destinations(out, action, r) {
		out.Action = &routev3.Route_DirectResponse{DirectResponse: answer(500, nil)}
		return
	}
	out.Action = &routev3.Route_Route{Route: action}
}

// destinations sets where requests go. It reports false when there is nowhere: no backend,
// or only backends of weight 0.
func destinations(out *routev3.Route, action *routev3.RouteAction, r *Rule) bool {
	backends := r.Route.Backends
	var used []int
	for i := range backends {
		if backends[i].Weight > 0 || len(backends) == 1 {
			used = append(used, i)
		}
	}
	if len(used) == 0 {
		return false
	}
	if len(used) == 1 {
		b, t := &backends[used[0]], r.Targets[used[0]]
		action.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: t.Cluster}
		applyHeaders(headerTarget{&out.RequestHeadersToAdd, &out.RequestHeadersToRemove}, b.Request)
		applyHeaders(headerTarget{&out.ResponseHeadersToAdd, &out.ResponseHeadersToRemove}, b.Response)
		if h := hostOf(b.Request); h != "" && action.HostRewriteSpecifier == nil {
			action.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: h}
		}
		out.TypedPerFilterConfig = alpnConfig(t.ALPN)
		return true
	}
	weighted := &routev3.WeightedCluster{}
	for _, i := range used {
		weighted.Clusters = append(weighted.Clusters, share(&backends[i], r.Targets[i], action.HostRewriteSpecifier == nil))
	}
	action.ClusterSpecifier = &routev3.RouteAction_WeightedClusters{WeightedClusters: weighted}
	return true
}

// share is one of several destinations. rewriteHost is false when the route rewrites the
// host for all of them.
func share(b *ir.Backend, t Target, rewriteHost bool) *routev3.WeightedCluster_ClusterWeight {
	w := &routev3.WeightedCluster_ClusterWeight{
		Name: t.Cluster, Weight: wrapperspb.UInt32(b.Weight), TypedPerFilterConfig: alpnConfig(t.ALPN),
	}
	applyHeaders(headerTarget{&w.RequestHeadersToAdd, &w.RequestHeadersToRemove}, b.Request)
	applyHeaders(headerTarget{&w.ResponseHeadersToAdd, &w.ResponseHeadersToRemove}, b.Response)
	if h := hostOf(b.Request); h != "" && rewriteHost {
		w.HostRewriteSpecifier = &routev3.WeightedCluster_ClusterWeight_HostRewriteLiteral{HostRewriteLiteral: h}
	}
	return w
}

// setTimeout limits a request. Nil and 0 are no limit: Envoy's own 15 s would end requests
// that nobody limited.
//
// Without a limit Envoy keeps to what a gRPC client asks for. With one there must be no
// MaxStreamDuration, not even of 0: Envoy stops reading Timeout as soon as there is.
func setTimeout(action *routev3.RouteAction, d *time.Duration) {
	if d != nil && *d > 0 {
		action.Timeout = durationpb.New(*d)
		return
	}
	action.Timeout = durationpb.New(0)
	action.MaxStreamDuration = &routev3.RouteAction_MaxStreamDuration{
		MaxStreamDuration: durationpb.New(0), GrpcTimeoutHeaderMax: durationpb.New(0),
	}
}

// rewrite changes path and host of the request.
func rewrite(action *routev3.RouteAction, in *ir.Route) {
	authority := hostOf(in.Request)
	if w := in.Rewrite; w != nil {
		switch {
		case w.RegexFrom != "":
			action.RegexRewrite = substitute(w.RegexFrom, w.RegexTo)
		case w.URI != "":
			if action.RegexRewrite = stripSegments(in.Match, w.URI); action.RegexRewrite == nil {
				action.PrefixRewrite = w.URI
			}
		}
		if w.Authority != "" {
			authority = w.Authority
		}
	}
	if authority != "" {
		action.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: authority}
	}
}

// stripSegments takes a prefix of whole path segments away when it is replaced with "/";
// Envoy's own replacement would leave "//rest". It is nil in every other case.
func stripSegments(m ir.Match, to string) *matcherv3.RegexMatchAndSubstitute {
	if m.URI == nil || segments(m.URI.PathPrefix) == "" || to != "/" {
		return nil
	}
	return substitute("^"+regexp.QuoteMeta(segments(m.URI.PathPrefix))+`(/?)(.*)`, `/\2`)
}

func substitute(pattern, substitution string) *matcherv3.RegexMatchAndSubstitute {
	return &matcherv3.RegexMatchAndSubstitute{Pattern: regex(pattern), Substitution: substitution}
}

// mirrors returns the copies of a request; clusters are parallel to in.
func mirrors(in []ir.Mirror, clusters []string) []*routev3.RouteAction_RequestMirrorPolicy {
	var out []*routev3.RouteAction_RequestMirrorPolicy
	for i, m := range in {
		if m.Percent <= 0 {
			continue
		}
		out = append(out, &routev3.RouteAction_RequestMirrorPolicy{
			Cluster:                       clusters[i],
			RuntimeFraction:               &corev3.RuntimeFractionalPercent{DefaultValue: percent(m.Percent)},
			TraceSampled:                  wrapperspb.Bool(false),
			DisableShadowHostSuffixAppend: true,
		})
	}
	return out
}

// hashPolicies are what the consistent hashes of the destinations hash, each once.
func hashPolicies(targets []Target) []*routev3.RouteAction_HashPolicy {
	var out []*routev3.RouteAction_HashPolicy
	var seen []*ir.HashOn
	for _, t := range targets {
		if t.Hash == nil || slices.ContainsFunc(seen, func(h *ir.HashOn) bool { return sameHash(h, t.Hash) }) {
			continue
		}
		seen = append(seen, t.Hash)
		out = append(out, hashPolicy(t.Hash))
	}
	return out
}
