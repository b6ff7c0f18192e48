package stage

import (
	"context"
	_ "embed"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// ExternalHost is the name of the external site, and SiteNamespace where its server hides.
const (
	ExternalHost  = "edition.cnn.com"
	SiteNamespace = "outside"
)

//go:embed site.yaml
var site string

// hosts is what makes CoreDNS answer for the site, with its address.
var hosts = regexp.MustCompile(`    hosts \{\n        (\S+) ` + regexp.QuoteMeta(ExternalHost) + `\n        fallthrough\n    \}\n`)

// ExternalSite starts a server outside the mesh that plays ExternalHost and has the
// cluster's DNS answer for it; both stay when they are there already. The sample sleep must
// run in the namespace default: the name has to resolve there. address is what the name
// resolves to. undo, never nil, gives the DNS its former configuration back.
func (s *Stage) ExternalSite(ctx context.Context) (address string, undo func(context.Context) error, err error) {
	undo = func(context.Context) error { return nil }
	if err := s.Namespace(ctx, SiteNamespace, false); err != nil {
		return "", undo, err
	}
	if err := s.Apply(ctx, SiteNamespace, site); err != nil {
		return "", undo, err
	}
	if err := s.Rollout(ctx, SiteNamespace, "deploy/site"); err != nil {
		return "", undo, err
	}
	address, err = s.Kubectl(ctx, "-n", SiteNamespace, "get", "service", "site", "-o", "jsonpath={.spec.clusterIP}")
	if err != nil {
		return "", undo, err
	}
	corefile, err := s.Kubectl(ctx, "-n", "kube-system", "get", "configmap", "coredns", "-o", "jsonpath={.data.Corefile}")
	if err != nil {
		return "", undo, err
	}
	wanted, err := resolving(corefile, address)
	if err != nil {
		return "", undo, err
	}
	if wanted != corefile {
		undo = func(ctx context.Context) error { return s.setCorefile(ctx, corefile) }
		if err := s.setCorefile(ctx, wanted); err != nil {
			return "", undo, err
		}
	}
	return address, undo, Eventually(ctx, 30*time.Second, func(ctx context.Context) error {
		out, err := s.Exec(ctx, "default", "deploy/sleep", "sleep", "busybox", "nslookup", ExternalHost)
		if err == nil && !strings.Contains(out, address) {
			err = fmt.Errorf("%s resolves to %q, want %s", ExternalHost, out, address)
		}
		return err
	})
}

// resolving returns a configuration of CoreDNS that answers address for ExternalHost.
func resolving(corefile, address string) (string, error) {
	corefile = hosts.ReplaceAllLiteralString(corefile, "")
	i := strings.Index(corefile, "    kubernetes ")
	if i < 0 {
		return "", fmt.Errorf("the cluster's DNS has no kubernetes block:\n%s", corefile)
	}
	block := fmt.Sprintf("    hosts {\n        %s %s\n        fallthrough\n    }\n", address, ExternalHost)
	return corefile[:i] + block + corefile[i:], nil
}

// setCorefile replaces the configuration of the cluster's DNS and restarts it.
func (s *Stage) setCorefile(ctx context.Context, text string) error {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: coredns\n  namespace: kube-system\ndata:\n  Corefile: |\n")
	for line := range strings.Lines(text) {
		b.WriteString("    " + strings.TrimRight(line, "\n") + "\n")
	}
	if err := s.Apply(ctx, "kube-system", b.String()); err != nil {
		return err
	}
	if _, err := s.Kubectl(ctx, "-n", "kube-system", "rollout", "restart", "deploy/coredns"); err != nil {
		return err
	}
	return s.Rollout(ctx, "kube-system", "deploy/coredns")
}
