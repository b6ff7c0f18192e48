package virtualservice

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	networkingv1alpha3 "istio.io/api/networking/v1alpha3"

	"github.com/sluicemesh/sluice/xds/api/object"
	"github.com/sluicemesh/sluice/xds/ir"
)

// match converts the run-time part of a match.
func (c *converter) match(path string, m *networkingv1alpha3.HTTPMatchRequest) ir.Match {
	out := ir.Match{
		URI: c.stringMatch(path+".uri", m.Uri), IgnoreCase: m.IgnoreUriCase,
		Method: c.stringMatch(path+".method", m.Method), Authority: c.stringMatch(path+".authority", m.Authority),
		Scheme: c.stringMatch(path+".scheme", m.Scheme),
		Query:  c.keyMatches(path+".queryParams", m.QueryParams, false),
	}
	if m.IgnoreUriCase && m.Uri.GetRegex() != "" {
		c.Warn(path+".ignoreUriCase", object.NotSupported, "it has no effect on a regex; begin the regex with (?i)")
	}
	out.Headers = append(c.keyMatches(path+".headers", m.Headers, false), c.keyMatches(path+".withoutHeaders", m.WithoutHeaders, true)...)
	slices.SortStableFunc(out.Headers, func(a, b ir.KeyMatch) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// stringMatch converts a condition on a part of the request line.
func (c *converter) stringMatch(path string, m *networkingv1alpha3.StringMatch) *ir.StringMatch {
	if m == nil {
		return nil
	}
	out := &ir.StringMatch{Exact: m.GetExact(), Prefix: m.GetPrefix(), Regex: m.GetRegex()}
	if *out == (ir.StringMatch{}) {
		c.Fatal(path, object.InvalidValue, "the match is empty; set exact, prefix or regex, or remove it")
	}
	c.regex(path+".regex", out.Regex)
	return out
}

// keyMatches converts conditions on headers or query parameters. An empty condition, or
// the regex "*", asks only for presence.
func (c *converter) keyMatches(path string, conditions map[string]*networkingv1alpha3.StringMatch, invert bool) []ir.KeyMatch {
	var out []ir.KeyMatch
	for _, key := range slices.Sorted(maps.Keys(conditions)) {
		m := conditions[key]
		at := path + "[" + key + "]"
		k := ir.KeyMatch{Key: key, Invert: invert, Match: ir.StringMatch{Exact: m.GetExact(), Prefix: m.GetPrefix(), Regex: m.GetRegex()}}
		switch {
		case key == "":
			c.Fatal(path, object.InvalidValue, "a condition needs a name")
		case strings.HasPrefix(key, "@request.auth.claims"):
			c.Fatal(at, object.NotSupported, "conditions on claims are not supported yet")
		}
		if k.Match == (ir.StringMatch{}) || k.Match.Regex == "*" {
			k.Match = ir.StringMatch{Present: true}
		}
		c.regex(at+".regex", k.Match.Regex)
		out = append(out, k)
	}
	return out
}

// regex checks a regular expression: Envoy reads the same dialect, RE2.
func (c *converter) regex(path, text string) {
	if text == "" {
		return
	}
	if len(text) > 1024 {
		c.Fatal(path, object.InvalidValue, "the regex is longer than 1024 characters")
		return
	}
	if _, err := regexp.Compile(text); err != nil {
		c.Fatal(path, object.InvalidValue, "%q is not a regex of the RE2 dialect: %v", text, err)
	}
}
