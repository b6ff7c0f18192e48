package scenarios

import (
	"context"
	"fmt"
	"slices"
	"testing"
)

// backend is a server without a proxy: its pods can be made while the injector is down.
const backend = `
apiVersion: v1
kind: Service
metadata:
  name: backend
spec:
  selector:
    app: backend
  ports:
  - name: http
    port: 8080
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: backend
spec:
  replicas: 1
  selector:
    matchLabels:
      app: backend
  template:
    metadata:
      labels:
        app: backend
        sidecar.istio.io/inject: "false"
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: demoapp
        image: ghcr.io/sluicemesh/demoapp:1.0
        imagePullPolicy: IfNotPresent
        readinessProbe:
          httpGet:
            path: /readyz
            port: 8080
          periodSeconds: 1
`

// TestControlPlaneOutage: with the control plane gone the traffic goes on; new endpoints
// wait; it comes back and catches up.
func TestControlPlaneOutage(t *testing.T) {
	const cluster = "outbound|8080||backend.default.svc.cluster.local"
	apply(t, "default", backend)
	must(t, st.Rollout(t.Context(), "default", "deploy/backend"))
	inEnvoy := func(replicas int) func(context.Context) error {
		return func(ctx context.Context) error {
			want, err := podAddresses(ctx, "default", "app=backend", 8080)
			if err != nil {
				return err
			}
			got, err := endpoints(ctx, "default", "deploy/sleep", cluster)
			if err == nil && (len(want) != replicas || !slices.Equal(got, want)) {
				err = fmt.Errorf("envoy has %v, the cluster has %v, want %d", got, want, replicas)
			}
			return err
		}
	}
	eventually(t, inEnvoy(1))

	t.Cleanup(func() {
		kubectlLater(t, "-n", "istio-system", "scale", "deploy/istiod", "--replicas=1")
		kubectlLater(t, "-n", "istio-system", "rollout", "status", "deploy/istiod", "--timeout=120s")
	})
	kubectl(t, "-n", "istio-system", "scale", "deploy/istiod", "--replicas=0")
	kubectl(t, "-n", "istio-system", "wait", "--for=delete", "pod", "-l", "app=istiod", "--timeout=60s")
	kubectl(t, "scale", "deploy/backend", "--replicas=3")
	must(t, st.Rollout(t.Context(), "default", "deploy/backend"))
	for range 10 {
		out, err := st.Curl(t.Context(), "default", "demoappv10:8080")
		if err != nil || !demoappReply.MatchString(out) {
			t.Fatalf("without the control plane: %q, %v", out, err)
		}
	}
	got, err := endpoints(t.Context(), "default", "deploy/sleep", cluster)
	must(t, err)
	if len(got) != 1 {
		t.Errorf("endpoints %v without a control plane, want the one from before", got)
	}

	kubectl(t, "-n", "istio-system", "scale", "deploy/istiod", "--replicas=1")
	must(t, st.Rollout(t.Context(), "istio-system", "deploy/istiod"))
	eventually(t, inEnvoy(3))
}
