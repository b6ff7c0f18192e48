package scenarios

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// outside plays an external site: a server without a proxy whose Service the mesh is told
// not to see. The cluster's DNS answers for its name, as the Internet's would.
const outside = `
apiVersion: v1
kind: Service
metadata:
  name: site
  annotations:
    networking.istio.io/exportTo: "~"
spec:
  selector:
    app: site
  ports:
  - name: http
    port: 80
    targetPort: 8080
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: site
spec:
  selector:
    matchLabels:
      app: site
  template:
    metadata:
      labels:
        app: site
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: site
        image: ghcr.io/sluicemesh/demoapp:1.0
        imagePullPolicy: IfNotPresent
        env:
        - name: VERSION
          value: external-site
`

const siteURL = "http://edition.cnn.com/politics"

// externalSite starts the site and makes its name resolve, for the length of the test.
func externalSite(t *testing.T) (address string) {
	t.Helper()
	must(t, st.Namespace(t.Context(), "outside", false))
	apply(t, "outside", outside)
	must(t, st.Rollout(t.Context(), "outside", "deploy/site"))
	address = kubectl(t, "-n", "outside", "get", "service", "site", "-o", "jsonpath={.spec.clusterIP}")

	corefile := kubectl(t, "-n", "kube-system", "get", "configmap", "coredns", "-o", `jsonpath={.data.Corefile}`)
	hosts := fmt.Sprintf("    hosts {\n        %s edition.cnn.com\n        fallthrough\n    }\n", address)
	i := strings.Index(corefile, "    kubernetes ")
	if i < 0 {
		t.Fatalf("cluster DNS has no kubernetes block:\n%s", corefile)
	}
	t.Cleanup(func() { setCorefile(t, corefile) })
	setCorefile(t, corefile[:i]+hosts+corefile[i:])
	eventually(t, func(ctx context.Context) error {
		out, err := st.Exec(ctx, "default", "deploy/sleep", "sleep", "busybox", "nslookup", "edition.cnn.com")
		if err == nil && !strings.Contains(out, address) {
			err = fmt.Errorf("edition.cnn.com resolves to %q", out)
		}
		return err
	})
	return address
}

// setCorefile replaces the configuration of the cluster's DNS and restarts it.
func setCorefile(t *testing.T, text string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: coredns\n  namespace: kube-system\ndata:\n  Corefile: |\n")
	for line := range strings.Lines(text) {
		b.WriteString("    " + strings.TrimRight(line, "\n") + "\n")
	}
	ctx := context.WithoutCancel(t.Context())
	if err := st.Apply(ctx, "kube-system", b.String()); err != nil {
		t.Error(err)
	}
	if _, err := st.Kubectl(ctx, "-n", "kube-system", "rollout", "restart", "deploy/coredns"); err != nil {
		t.Error(err)
	}
	if err := st.Rollout(ctx, "kube-system", "deploy/coredns"); err != nil {
		t.Error(err)
	}
}

// policy sets the mesh's outboundTrafficPolicy for the length of the test.
func policy(t *testing.T, mode string) {
	t.Helper()
	mesh := kubectl(t, "-n", "istio-system", "get", "configmap", "istio", "-o", "jsonpath={.data.mesh}")
	set := func(text string) {
		patch := fmt.Sprintf(`{"data":{"mesh":%q}}`, text)
		if _, err := st.Kubectl(context.WithoutCancel(t.Context()), "-n", "istio-system", "patch", "configmap", "istio", "--type=merge", "-p", patch); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { set(mesh) })
	set(mesh + "\noutboundTrafficPolicy:\n  mode: " + mode + "\n")
}

// siteStatus is a check that a pod of a namespace gets a status from the external site.
func siteStatus(target, want string) func(context.Context) error {
	return func(ctx context.Context) error {
		out, err := st.Exec(ctx, "default", target, "sleep", "curl", "-s", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}", siteURL)
		if out != want {
			return fmt.Errorf("the site answers %s with %q, want %s (%v)", target, out, want, err)
		}
		return nil
	}
}

// TestEgressPolicy: W6, ALLOW_ANY lets out, REGISTRY_ONLY does not, until the destination
// (a) is left out of the capture or (b) is a ServiceEntry.
func TestEgressPolicy(t *testing.T) {
	address := externalSite(t)
	eventually(t, siteStatus("deploy/sleep", "404")) // the site has no /politics: its own 404
	policy(t, "REGISTRY_ONLY")
	eventually(t, siteStatus("deploy/sleep", "502"))

	t.Run("left out of the capture", func(t *testing.T) {
		apply(t, "default", fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata:
  name: around
  annotations:
    traffic.sidecar.istio.io/excludeOutboundIPRanges: %s/32
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: sleep
    image: ghcr.io/sluicemesh/sleep:1.0
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
`, address))
		kubectl(t, "wait", "--for=condition=Ready", "pod/around", "--timeout=90s")
		eventually(t, siteStatus("pod/around", "404"))
	})
	t.Run("service entry", func(t *testing.T) {
		apply(t, "default", "samples/egress/serviceentry.yaml")
		eventually(t, siteStatus("deploy/sleep", "404"))
	})
	eventually(t, siteStatus("deploy/sleep", "502"))
}

// TestEgressGateway: W6 (c), the request leaves through the egress gateway, and directly
// again when the objects are gone.
func TestEgressGateway(t *testing.T) {
	externalSite(t)
	apply(t, "default", "samples/egress/serviceentry.yaml")
	viaGateway := func(ctx context.Context) (int, error) {
		out, err := st.Kubectl(ctx, "-n", "istio-system", "logs", "-l", "istio=egressgateway", "-c", "istio-proxy", "--tail=-1")
		n := 0
		for line := range strings.Lines(out) {
			if strings.Contains(line, `"GET /politics HTTP/`) && strings.Contains(line, "outbound|80||edition.cnn.com") {
				n++
			}
		}
		return n, err
	}
	t.Run("through", func(t *testing.T) {
		apply(t, "default", "samples/egress/egress-gateway.yaml")
		eventually(t, func(ctx context.Context) error {
			if err := siteStatus("deploy/sleep", "404")(ctx); err != nil {
				return err
			}
			n, err := viaGateway(ctx)
			if err == nil && n == 0 {
				err = fmt.Errorf("the egress gateway logged no request")
			}
			return err
		})
	})
	var before int
	eventually(t, func(ctx context.Context) error {
		var err error
		if before, err = viaGateway(ctx); err != nil {
			return err
		}
		if err := siteStatus("deploy/sleep", "404")(ctx); err != nil {
			return err
		}
		after, err := viaGateway(ctx)
		if err == nil && after != before {
			err = fmt.Errorf("still through the gateway")
		}
		return err
	})
}
