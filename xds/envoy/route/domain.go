package route

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/xds/ir"
)

// Host is what the domains of a virtual host are made from.
type Host struct {
	Name      string // full host name, or wildcard
	Headless  bool
	Addresses []netip.Prefix // those of a single address become domains
}

// HostOf returns the Host of a service.
func HostOf(s ir.Service) Host {
	return Host{Name: s.ID.Host, Headless: s.Headless, Addresses: s.Addresses}
}

// Client is where the asking proxy lives.
type Client struct {
	Namespace string
	DNSDomain string // what follows the namespace: "svc.cluster.local"
}

// Domains returns the names under which clients reach h, the full name first, unique.
//
// A service of the cluster is reached by each name that the search path of the client's
// pod completes; its short name only in its own namespace. A host elsewhere that shares
// the end of the client's domain is reached by what comes before. Headless services add
// the names of their pods. Wildcards and addresses are only themselves. Ports are left
// out: tables ignore them.
//
// Source: Istio's expansion of hosts.
func Domains(h Host, c Client) []string {
	if _, err := netip.ParseAddr(h.Name); err == nil || strings.HasPrefix(h.Name, "*") {
		return []string{h.Name}
	}
	forms := append([]string{h.Name, h.Name + "."}, shortForms(h.Name, c)...)
	if h.Headless {
		for _, f := range slices.Clone(forms) {
			forms = append(forms, "*."+f)
		}
	}
	for _, p := range h.Addresses {
		switch {
		case !p.IsSingleIP():
		case p.Addr().Is4():
			forms = append(forms, p.Addr().String())
		default:
			forms = append(forms, "["+p.Addr().String()+"]")
		}
	}
	return unique(forms)
}

// shortForms are the shorter names of a host.
func shortForms(name string, c Client) []string {
	if local, ok := strings.CutSuffix(name, "."+c.DNSDomain); ok {
		service, namespace, found := cutLast(local)
		if found {
			svc, _, _ := strings.Cut(c.DNSDomain, ".")
			forms := []string{local + "." + svc, local}
			if namespace == c.Namespace {
				forms = append([]string{service}, forms...)
			}
			return forms
		}
	}
	if before := uniquePart(name, c.Namespace+"."+c.DNSDomain); before != "" {
		return []string{before}
	}
	return nil
}

// cutLast cuts at the last dot.
func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// uniquePart is what precedes the labels that name and domain have in common at their
// ends; empty if they have none, or nothing precedes.
func uniquePart(name, domain string) string {
	n, d := strings.Split(name, "."), strings.Split(domain, ".")
	shared := 0
	for shared < min(len(n), len(d)) && n[len(n)-1-shared] == d[len(d)-1-shared] {
		shared++
	}
	if shared == 0 {
		return ""
	}
	return strings.Join(n[:len(n)-shared], ".")
}

// unique drops repeated names, whatever their case.
func unique(forms []string) []string {
	seen := make(map[string]bool, len(forms))
	return slices.DeleteFunc(forms, func(f string) bool {
		key := strings.ToLower(f)
		if seen[key] {
			return true
		}
		seen[key] = true
		return false
	})
}
