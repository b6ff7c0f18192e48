package bootstrap

import (
	"regexp"

	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// config is the inclusion list, the tags and the buckets. What is not included costs Envoy
// no memory; with everything counted a thousand clusters cost tens of megabytes.
func (s Stats) config(exitOnZero bool) *metricsv3.StatsConfig {
	prefixes := append([]string{
		"reporter=", "cluster_manager", "listener_manager", "server", "cluster.xds-grpc", "wasm", "component", "istio",
	}, s.Prefixes...)
	suffixes := append([]string{"rbac.allowed", "rbac.denied", "shadow_allowed", "shadow_denied"}, s.Suffixes...)
	if exitOnZero {
		suffixes = append(suffixes, "downstream_cx_active")
	}
	regexps := append([]string{`vhost\..*\.route\..*`}, s.Regexps...)

	var match []*matcherv3.StringMatcher
	for _, p := range prefixes {
		match = append(match, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: p}})
	}
	for _, p := range suffixes {
		match = append(match, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Suffix{Suffix: p}})
	}
	for _, p := range regexps {
		match = append(match, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{
			SafeRegex: &matcherv3.RegexMatcher{Regex: p},
		}})
	}
	out := &metricsv3.StatsConfig{
		UseAllDefaultTags: wrapperspb.Bool(false),
		StatsMatcher: &metricsv3.StatsMatcher{StatsMatcher: &metricsv3.StatsMatcher_InclusionList{
			InclusionList: &matcherv3.ListStringMatcher{Patterns: match},
		}},
	}
	for _, t := range tags(s.Tags) {
		out.StatsTags = append(out.StatsTags, &metricsv3.TagSpecifier{
			TagName: t[0], TagValue: &metricsv3.TagSpecifier_Regex{Regex: t[1]},
		})
	}
	for _, b := range s.Buckets {
		out.HistogramBucketSettings = append(out.HistogramBucketSettings, &metricsv3.HistogramBucketSettings{
			Match:   &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: b.Prefix}},
			Buckets: b.Bounds,
		})
	}
	return out
}

// tags are name and expression of each tag: the first group is cut out of the statistic's
// name, the second is the value. Names that the control plane chooses (clusters, HTTP
// managers) end in ';', so that dots in them do not matter.
func tags(extra []string) [][2]string {
	out := [][2]string{
		{"cluster_name", `^cluster\.((.+?);\.)`},
		{"http_conn_manager_prefix", `^http\.((.+?);\.)`},
		{"http_conn_manager_listener_prefix", `^listener\..*?\.http\.((.+?);\.)`},
		{"listener_address", `^listener\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)`},
		{"tcp_prefix", `^tcp\.((.+?);?\.)\w+?$`},
		{"response_code", `_rq(_(\d{3}))$`},
		{"response_code_class", `_rq(_(\dxx))$`},
		{"mongo_prefix", `^mongo\.(.+?)\.(collection|cmd|cx_|op_|delays_|decoding_)(.*?)$`},
		{"thread_name", `^(?:server|listener_manager)\.((worker_\d+|main_thread)\.)`},
		{"cache", `(cache\.(.+?)\.)`},
		{"component", `(component\.(.+?)\.)`},
		{"tag", `(tag\.(.+?);\.)`},
		{"wasm_filter", `(wasm_filter\.(.+?)\.)`},
		{"authz_enforce_result", `rbac(\.(allowed|denied))`},
		{"authz_dry_run_action", `(\.istio_dry_run_(allow|deny)_)`},
		{"authz_dry_run_result", `(\.shadow_(allowed|denied))`},
	}
	for _, name := range extra {
		out = append(out, [2]string{name, `(` + regexp.QuoteMeta(name) + `\.=\.(.*?);\.)`})
	}
	return out
}
