package virtualservice

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	networkingv1alpha3 "istio.io/api/networking/v1alpha3"

	"github.com/sluicemesh/sluice/xds/api/object"
	"github.com/sluicemesh/sluice/xds/ir"
)

// http converts one rule: a route per match, one without conditions if there is none. All
// share the actions.
func (c *converter) http(path string, r *networkingv1alpha3.HTTPRoute) []ir.Route {
	base := ir.Route{Name: r.Name}
	c.action(path, r, &base)
	base.Timeout = c.duration(path+".timeout", r.Timeout)
	base.Retries = c.retries(path+".retries", r.Retries)
	base.Fault = c.fault(path+".fault", r.Fault)
	base.CORS = c.cors(path+".corsPolicy", r.CorsPolicy)
	base.Mirrors = c.mirrors(path, r)
	base.Request, base.Response = c.headers(path+".headers", r.Headers)
	base.Rewrite = c.rewrite(path+".rewrite", r.Rewrite)
	if base.Rewrite != nil && len(base.Backends) == 0 {
		c.Fatal(path+".rewrite", object.Conflict, "only requests that are sent on can be rewritten; remove it, or use route")
	}
	if len(r.Match) == 0 {
		return []ir.Route{base}
	}
	out := make([]ir.Route, 0, len(r.Match))
	for i, m := range r.Match {
		route := base
		at := fmt.Sprintf("%s.match[%d]", path, i)
		route.Source = c.source(at, m.Port, m.SourceLabels, m.Gateways)
		route.Source.Namespace = m.SourceNamespace
		route.Match = c.match(at, m)
		if m.Name != "" {
			route.Name = r.Name + "." + m.Name
		}
		out = append(out, route)
	}
	return out
}

// action sets the one of route, redirect and directResponse that the rule has.
func (c *converter) action(path string, r *networkingv1alpha3.HTTPRoute, out *ir.Route) {
	n := 0
	for _, set := range []bool{len(r.Route) > 0, r.Redirect != nil, r.DirectResponse != nil} {
		if set {
			n++
		}
	}
	switch {
	case r.Delegate != nil:
		c.Fatal(path+".delegate", object.NotSupported, "delegation is not supported yet; write the delegate's rules here")
		return
	case n == 0:
		c.Fatal(path, object.Missing, "the rule does nothing; set route, redirect or directResponse")
		return
	case n > 1:
		c.Fatal(path, object.Conflict, "route, redirect and directResponse exclude each other; keep one")
		return
	}
	out.Redirect = c.redirect(path+".redirect", r.Redirect)
	if d := r.DirectResponse; d != nil {
		out.Direct = &ir.DirectResponse{Status: d.Status, Body: d.GetBody().GetBytes()}
		if text := d.GetBody().GetString_(); text != "" {
			out.Direct.Body = []byte(text)
		}
		if d.Status < 200 || d.Status > 599 {
			c.Fatal(path+".directResponse.status", object.InvalidValue, "%d is not a status; write 200 to 599", d.Status)
		}
	}
	for i, d := range r.Route {
		at := fmt.Sprintf("%s.route[%d]", path, i)
		host, port := c.destination(at+".destination", d.Destination)
		weight, used := c.weight(at, d.Weight, len(r.Route))
		if !used {
			continue
		}
		b := ir.Backend{Host: host, Subset: d.Destination.GetSubset(), Port: port, Weight: weight}
		b.Request, b.Response = c.headers(at+".headers", d.Headers)
		out.Backends = append(out.Backends, b)
	}
	if r.Redirect == nil && r.DirectResponse == nil {
		c.needBackend(path, len(r.Route), len(out.Backends))
	}
}

func (c *converter) redirect(path string, r *networkingv1alpha3.HTTPRedirect) *ir.Redirect {
	if r == nil {
		return nil
	}
	out := &ir.Redirect{
		Authority: r.Authority, Scheme: r.Scheme, Path: r.Uri, PrefixRewrite: r.PrefixRewrite,
		Port: r.GetPort(), Code: r.RedirectCode,
	}
	if _, derived := r.RedirectPort.(*networkingv1alpha3.HTTPRedirect_DerivePort); derived {
		out.DerivePort = r.GetDerivePort() == networkingv1alpha3.HTTPRedirect_FROM_PROTOCOL_DEFAULT
	}
	c.oneLine(path+".uri", r.Uri+r.PrefixRewrite)
	c.oneLine(path+".authority", r.Authority)
	switch out.Code {
	case 0:
		out.Code = 301
	case 301, 302, 303, 307, 308:
	default:
		c.Fatal(path+".redirectCode", object.InvalidValue, "%d is not a redirect; use 301, 302, 303, 307 or 308", r.RedirectCode)
	}
	if r.Uri != "" && r.PrefixRewrite != "" {
		c.Fatal(path+".uri", object.Conflict, "uri and prefixRewrite exclude each other; keep one")
	}
	if out.Port > 65535 {
		c.Fatal(path+".port", object.InvalidValue, "%d is not a port", out.Port)
	}
	if r.Scheme != "" && r.Scheme != "http" && r.Scheme != "https" {
		c.Fatal(path+".scheme", object.InvalidValue, "%q is not a scheme; use http or https", r.Scheme)
	}
	return out
}

func (c *converter) rewrite(path string, r *networkingv1alpha3.HTTPRewrite) *ir.Rewrite {
	if r == nil {
		return nil
	}
	out := &ir.Rewrite{URI: r.Uri, Authority: r.Authority}
	c.oneLine(path+".uri", r.Uri)
	c.oneLine(path+".authority", r.Authority)
	if x := r.UriRegexRewrite; x != nil {
		out.RegexFrom, out.RegexTo = x.Match, x.Rewrite
		c.regex(path+".uriRegexRewrite.match", x.Match)
		c.oneLine(path+".uriRegexRewrite.rewrite", x.Rewrite)
		if r.Uri != "" {
			c.Fatal(path, object.Conflict, "uri and uriRegexRewrite exclude each other; keep one")
		}
	}
	if *out == (ir.Rewrite{}) {
		c.Fatal(path, object.Missing, "the rewrite changes nothing; set uri, authority or uriRegexRewrite")
	}
	return out
}

func (c *converter) mirrors(path string, r *networkingv1alpha3.HTTPRoute) []ir.Mirror {
	if r.Mirror != nil && len(r.Mirrors) > 0 {
		c.Fatal(path+".mirrors", object.Conflict, "mirror and mirrors exclude each other; keep one")
		return nil
	}
	var out []ir.Mirror
	if r.Mirror != nil {
		percent := 100.0
		switch {
		case r.MirrorPercentage != nil:
			percent = c.percent(path+".mirrorPercentage", r.MirrorPercentage)
		case r.MirrorPercent != nil: //nolint:staticcheck // old spelling that users have
			percent = float64(r.MirrorPercent.Value) //nolint:staticcheck // as above
		}
		out = append(out, c.mirror(path+".mirror", r.Mirror, percent))
	}
	for i, m := range r.Mirrors {
		at, percent := fmt.Sprintf("%s.mirrors[%d]", path, i), 100.0
		if m.Percentage != nil {
			percent = c.percent(at+".percentage", m.Percentage)
		}
		out = append(out, c.mirror(at+".destination", m.Destination, percent))
	}
	// A mirror that gets nothing need not be sent.
	kept := out[:0]
	for _, m := range out {
		if m.Percent > 0 {
			kept = append(kept, m)
		}
	}
	return kept
}

func (c *converter) mirror(path string, d *networkingv1alpha3.Destination, percent float64) ir.Mirror {
	host, port := c.destination(path, d)
	return ir.Mirror{Host: host, Subset: d.GetSubset(), Port: port, Percent: percent}
}

func (c *converter) percent(path string, p *networkingv1alpha3.Percent) float64 {
	if p.Value < 0 || p.Value > 100 {
		c.Fatal(path+".value", object.InvalidValue, "%v is not a percentage; write 0 to 100", p.Value)
	}
	return p.Value
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
