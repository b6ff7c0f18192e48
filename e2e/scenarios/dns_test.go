package scenarios

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// resolver is a pod whose queries its agent answers. Beside it are a ServiceEntry whose name no
// name server knows, served by httpbin, and a Service that only the cluster's DNS can answer for.
const resolver = `
apiVersion: v1
kind: Pod
metadata:
  name: resolver
  labels: {app: resolver}
  annotations:
    proxy.istio.io/config: |
      proxyMetadata:
        ISTIO_META_DNS_CAPTURE: "true"
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: sleep
    image: ghcr.io/sluicemesh/sleep:1.0
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: virtual
spec:
  hosts: [api.virtual.example]
  addresses: [240.1.2.3]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]
  workloadSelector:
    labels: {app: httpbin}
---
apiVersion: v1
kind: Service
metadata:
  name: elsewhere
spec:
  type: ExternalName
  externalName: kubernetes.default.svc.cluster.local
`

const virtualURL = "http://api.virtual.example"

// overTCP makes the resolver library of a command ask over TCP.
const overTCP = "RES_OPTIONS=use-vc"

// lookup is the address to which a program in the pod connects for a URL, after the resolver
// library: there is no other program in the image that asks it.
func lookup(ctx context.Context, url string, env ...string) (string, error) {
	command := append(append([]string{"env"}, env...), "curl", "-sk", "--max-time", "5", "-o", "/dev/null", "-w", "%{remote_ip}", url)
	return st.Exec(ctx, "default", "resolver", "sleep", command...)
}

// resolves is a check that the host of a URL has an address, over both transports.
func resolves(url, want string) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, env := range [][]string{nil, {overTCP}} {
			got, err := lookup(ctx, url, env...)
			if err == nil && got != want {
				err = fmt.Errorf("%s (%v) resolves to %q, want %s", url, env, got, want)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

var dnsCounter = regexp.MustCompile(`(?m)^istio_agent_(dns_\w+_total) (\d+)$`)

// dnsCounts are the counters of DNS of the pod's agent, by name without prefix.
func dnsCounts(t *testing.T) map[string]int {
	t.Helper()
	out, err := st.Exec(t.Context(), "default", "resolver", "istio-proxy", "pilot-agent", "request", "--debug-port", "15020", "GET", "/stats/prometheus")
	must(t, err)
	counts := map[string]int{}
	for _, m := range dnsCounter.FindAllStringSubmatch(out, -1) {
		if counts[m[1]], err = strconv.Atoi(m[2]); err != nil {
			t.Fatal(err)
		}
	}
	if len(counts) != 3 {
		t.Fatalf("counters %v", counts)
	}
	return counts
}

// TestDNSCapture: the agent answers for the mesh, also for a name that exists nowhere else, over
// UDP and TCP; everything else is answered by the cluster's DNS. With the control plane away it
// goes on.
func TestDNSCapture(t *testing.T) {
	apply(t, "default", resolver)
	kubectl(t, "wait", "--for=condition=Ready", "pod/resolver", "--timeout=60s")
	httpbin := kubectl(t, "get", "service", "httpbin", "-o", "jsonpath={.spec.clusterIP}")
	kubernetes := kubectl(t, "get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}")

	eventually(t, resolves(virtualURL, "240.1.2.3")) // the table has all of it
	before := dnsCounts(t)
	ofMesh := map[string]string{
		"http://httpbin:8000": httpbin, "http://httpbin.default:8000": httpbin, "http://httpbin.default.svc:8000": httpbin,
		"http://httpbin.default.svc.cluster.local:8000": httpbin, "https://kubernetes.default": kubernetes, virtualURL: "240.1.2.3",
	}
	for url, want := range ofMesh {
		t.Run("mesh/"+url, func(t *testing.T) { eventually(t, resolves(url, want)) })
	}
	after := dnsCounts(t)
	if after["dns_requests_total"]-before["dns_requests_total"] < 2*len(ofMesh) || after["dns_upstream_requests_total"] != before["dns_upstream_requests_total"] {
		t.Errorf("counters %v and then %v: want a query for each name and transport, and none passed on", before, after)
	}
	t.Run("the name leads to its endpoints", func(t *testing.T) {
		eventually(t, func(ctx context.Context) error {
			out, err := st.Exec(ctx, "default", "resolver", "sleep", "curl", "-sS", "--max-time", "5", virtualURL+"/headers")
			if err == nil && !strings.Contains(out, "URI=spiffe://cluster.local/ns/default/sa/default") {
				err = fmt.Errorf("httpbin was not called with the pod's identity: %s", out)
			}
			return err
		})
	})
	t.Run("cluster's DNS", func(t *testing.T) {
		eventually(t, resolves("https://elsewhere", kubernetes))
		if now := dnsCounts(t); now["dns_upstream_requests_total"] <= after["dns_upstream_requests_total"] {
			t.Errorf("counters %v and then %v: want queries passed on", after, now)
		}
	})
	t.Run("control plane away", dnsWithoutControlPlane)
}

func dnsWithoutControlPlane(t *testing.T) {
	t.Cleanup(func() {
		kubectlLater(t, "-n", "istio-system", "scale", "deploy/istiod", "--replicas=1")
		kubectlLater(t, "-n", "istio-system", "rollout", "status", "deploy/istiod", "--timeout=120s")
	})
	kubectl(t, "-n", "istio-system", "scale", "deploy/istiod", "--replicas=0")
	kubectl(t, "-n", "istio-system", "wait", "--for=delete", "pod", "-l", "app=istiod", "--timeout=60s")
	must(t, resolves(virtualURL, "240.1.2.3")(t.Context()))

	// A change made meanwhile arrives when it is back, and the name resolves all along.
	kubectl(t, "patch", "serviceentry", "virtual", "--type=merge", "-p", `{"spec":{"addresses":["240.1.2.4"]}}`)
	kubectl(t, "-n", "istio-system", "scale", "deploy/istiod", "--replicas=1")
	eventually(t, func(ctx context.Context) error {
		switch got, err := lookup(ctx, virtualURL); {
		case err != nil:
			t.Error(err)
		case got == "240.1.2.3":
			return errors.New("still the address from before")
		case got != "240.1.2.4":
			t.Errorf("the name resolves to %q", got)
		}
		return nil
	})
	must(t, st.Rollout(t.Context(), "istio-system", "deploy/istiod"))
}
