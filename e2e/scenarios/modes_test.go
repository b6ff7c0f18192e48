package scenarios

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// modePod is a demoapp that says which address its client has, a shell beside it, and its
// Service. It takes a name, labels and annotations. No other Service has its port: with NONE the
// proxy listens on loopback for those that do.
const modePod = `
apiVersion: v1
kind: Service
metadata:
  name: %[1]s
spec:
  selector: {app: %[1]s}
  ports: [{name: http, port: 80, targetPort: 7070}]
---
apiVersion: v1
kind: Pod
metadata:
  name: %[1]s
  labels: {app: %[1]s, %[2]s}
  annotations: {%[3]s}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: demoapp
    image: ghcr.io/sluicemesh/demoapp:1.0
    imagePullPolicy: IfNotPresent
    env: [{name: PORT, value: "7070"}]
    ports: [{containerPort: 7070}]
    readinessProbe: {httpGet: {path: /readyz, port: 7070}, periodSeconds: 1}
  - name: sleep
    image: ghcr.io/sluicemesh/sleep:1.0
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
`

// outsider is a pod that is not of the mesh.
const outsider = `
apiVersion: v1
kind: Pod
metadata:
  name: outsider
  labels: {sidecar.istio.io/inject: "false"}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: sleep
    image: ghcr.io/sluicemesh/sleep:1.0
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
`

func podIP(t *testing.T, pod string) string {
	t.Helper()
	return kubectl(t, "get", "pod", pod, "-o", "jsonpath={.status.podIP}")
}

// seenFrom is a check that a demoapp answers a call from a pod and sees it come from an
// address. via, unless empty, must be in the answer's headers.
func seenFrom(pod, url, address, via string) func(context.Context) error {
	return func(ctx context.Context) error {
		out, err := st.Exec(ctx, "default", pod, "sleep", "curl", "-sSi", "--max-time", "5", url)
		if err != nil {
			return err
		}
		if !strings.Contains(out, "ClientIP: "+address+",") || !strings.Contains(out, via) {
			return fmt.Errorf("call from %s to %s: want client %s and %q, got %s", pod, url, address, via, out)
		}
		return nil
	}
}

// TestInterceptionModes: the annotation interceptionMode. With TPROXY the application sees
// who calls it, which with REDIRECT is its own proxy; with NONE the proxy is not in between,
// so that a label must keep clients of the mesh from mutual TLS.
func TestInterceptionModes(t *testing.T) {
	apply(t, "default", outsider,
		fmt.Sprintf(modePod, "transparent", "", `sidecar.istio.io/interceptionMode: TPROXY, traffic.sidecar.istio.io/excludeInterfaces: "net1"`),
		fmt.Sprintf(modePod, "redirected", "", ""),
		fmt.Sprintf(modePod, "apart", "security.istio.io/tlsMode: disabled", "sidecar.istio.io/interceptionMode: NONE"))
	kubectl(t, "wait", "--for=condition=Ready", "pod/transparent", "pod/redirected", "pod/apart", "pod/outsider", "--timeout=60s")
	outside, transparent := podIP(t, "outsider"), podIP(t, "transparent")
	caller := kubectl(t, "get", "pods", "-l", "app=sleep", "-o", "jsonpath={.items[0].metadata.name}")
	const proxied = "server: istio-envoy" // the receiver's proxy says so to clients outside the mesh
	checks := map[string]func(context.Context) error{
		"REDIRECT hides the client":            seenFrom("outsider", "http://redirected.default", "127.0.0.6", proxied),
		"TPROXY shows a client outside":        seenFrom("outsider", "http://transparent.default", outside, proxied),
		"TPROXY shows it by the pod's address": seenFrom("outsider", "http://"+transparent+":7070", outside, proxied),
		"TPROXY shows a client of the mesh":    seenFrom(caller, "http://transparent.default", podIP(t, caller), ""),
		"TPROXY and the call to oneself":       seenFrom("transparent", "http://transparent.default", transparent, ""),
		"TPROXY leaves localhost alone":        seenFrom("transparent", "http://localhost:7070", "127.0.0.1", ""),
		"NONE leaves alone what the pod gets":  seenFrom("outsider", "http://apart.default", outside, ""),
		"NONE and a client of the mesh":        seenFrom(caller, "http://apart.default", podIP(t, caller), ""),
		"NONE and TPROXY go along":             seenFrom("apart", "http://transparent.default", podIP(t, "apart"), proxied),
	}
	checks["TPROXY captures what the pod sends"] = func(ctx context.Context) error {
		out, err := st.Exec(ctx, "default", "transparent", "sleep", "curl", "-sS", "--max-time", "5", "http://httpbin:8000/get")
		if err == nil && !strings.Contains(out, "URI=spiffe://cluster.local/ns/default/sa/default") {
			err = fmt.Errorf("httpbin was not called with the pod's identity: %s", out)
		}
		return err
	}
	for name, check := range checks {
		t.Run(name, func(t *testing.T) { eventually(t, check) })
	}
	if inits := kubectl(t, "get", "pod", "apart", "-o", "jsonpath={.spec.initContainers[*].name}"); strings.Contains(inits, "istio-init") {
		t.Errorf("the pod without interception has init containers %s", inits)
	}
}
