package route

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/sluicemesh/sluice/xds/ir"
)

// redirect answers with a redirect.
func redirect(in ir.Redirect, m ir.Match) *routev3.RedirectAction {
	out := &routev3.RedirectAction{HostRedirect: in.Authority, PortRedirect: in.Port, ResponseCode: redirectCode(in.Code)}
	if in.Scheme != "" {
		out.SchemeRewriteSpecifier = &routev3.RedirectAction_SchemeRedirect{SchemeRedirect: in.Scheme}
	}
	if in.DerivePort && in.Port == 0 && in.Authority == "" {
		// Envoy keeps the port of the request's host unless it is the old scheme's own.
		out.PortRedirect = map[string]uint32{"http": 80, "https": 443}[in.Scheme]
	}
	switch {
	case in.Path != "":
		out.PathRewriteSpecifier = &routev3.RedirectAction_PathRedirect{PathRedirect: in.Path}
	case in.PrefixRewrite != "":
		if strip := stripSegments(m, in.PrefixRewrite); strip != nil {
			out.PathRewriteSpecifier = &routev3.RedirectAction_RegexRewrite{RegexRewrite: strip}
		} else {
			out.PathRewriteSpecifier = &routev3.RedirectAction_PrefixRewrite{PrefixRewrite: in.PrefixRewrite}
		}
	}
	return out
}

func redirectCode(code uint32) routev3.RedirectAction_RedirectResponseCode {
	switch code {
	case 302:
		return routev3.RedirectAction_FOUND
	case 303:
		return routev3.RedirectAction_SEE_OTHER
	case 307:
		return routev3.RedirectAction_TEMPORARY_REDIRECT
	case 308:
		return routev3.RedirectAction_PERMANENT_REDIRECT
	}
	return routev3.RedirectAction_MOVED_PERMANENTLY
}

// answer is a response without a backend.
func answer(status uint32, body []byte) *routev3.DirectResponseAction {
	out := &routev3.DirectResponseAction{Status: status}
	if len(body) > 0 {
		out.Body = &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: body}}
	}
	return out
}
