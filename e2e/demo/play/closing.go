package play

import (
	"fmt"
	"strings"
)

// ending is what is to be said at the end.
type ending struct {
	total      string
	requests   int
	failed     []string
	kubeconfig string
	bin        string // directory with kubectl and sluice
	gateway    string // address of the ingress gateway
	remove     string // the command that removes the cluster
}

// closing sums up and says how to go on.
func closing(e ending) string {
	var b strings.Builder
	if len(e.failed) == 0 {
		fmt.Fprintf(&b, "\n✓ All %d requests did what they should. Total time: %s.\n", e.requests, e.total)
	} else {
		fmt.Fprintf(&b, "\n✗ %d of %d requests did not do what they should. Total time: %s.\n", len(e.failed), e.requests, e.total)
	}
	b.WriteString("\nmTLS: the receiving proxy logged the mesh's server name (SNI); it takes that only with a verified certificate.\n")
	fmt.Fprintf(&b, `
The cluster stays up. Go on with:
  export KUBECONFIG=%s
  export PATH=%s:$PATH
  kubectl get pods -A
  kubectl exec deploy/sleep -c sleep -- curl -s demoappv10:8080
  kubectl logs deploy/sleep -c istio-proxy --tail=3
  kubectl exec deploy/sleep -c istio-proxy -- pilot-agent request GET /clusters
  curl -i -H Host:httpbin.example.com http://%s/status/418
  sluice version
Remove it with: %s
`, e.kubeconfig, e.bin, e.gateway, e.remove)
	if len(e.failed) > 0 {
		b.WriteString(`To find the cause:
  kubectl get events -A --sort-by=.lastTimestamp
  kubectl -n istio-system logs deploy/istiod
  kubectl logs deploy/sleep -c istio-proxy
`)
	}
	return strings.TrimRight(b.String(), "\n")
}
