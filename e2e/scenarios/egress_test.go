package scenarios

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/sluicemesh/sluice/e2e/stage"
)

const siteURL = "http://" + stage.ExternalHost + "/politics"

// externalSite starts the site and makes its name resolve, for the length of the test.
func externalSite(t *testing.T) (address string) {
	t.Helper()
	address, undo, err := st.ExternalSite(t.Context())
	t.Cleanup(func() {
		if err := undo(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	must(t, err)
	return address
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
