package scenarios

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicemesh/sluice/e2e/stage"
)

// strictPods are a client and a server as the Pod Security level restricted wants them.
const strictPods = `
apiVersion: v1
kind: Service
metadata:
  name: strict-server
spec:
  selector: {app: strict-server}
  ports: [{name: http, port: 8000, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata:
  name: strict-server
  labels: {app: strict-server}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true}
  containers:
  - name: httpbin
    image: ghcr.io/sluicemesh/httpbin:1.0
    imagePullPolicy: IfNotPresent
    ports: [{containerPort: 8080}]
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}
` + strictClient

// strictClient sends requests.
const strictClient = `
---
apiVersion: v1
kind: Pod
metadata:
  name: strict-client
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true}
  containers:
  - name: sleep
    image: ghcr.io/sluicemesh/sleep:1.0
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}
`

// mistaken is a pod that looks injected and asks for what cannot be captured. The injector
// would have refused it.
const mistaken = `
apiVersion: v1
kind: Pod
metadata:
  name: mistaken
  annotations:
    sidecar.istio.io/status: "{}"
    traffic.sidecar.istio.io/includeInboundPorts: "http"
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: istio-proxy
    image: ghcr.io/sluicemesh/sleep:1.0
    imagePullPolicy: IfNotPresent
    args: [proxy, sidecar]
`

// networkConfig reads the node's configuration of pod networks, all files of it.
func networkConfig(t *testing.T) string {
	t.Helper()
	out, err := onNode(t.Context(), "cd /etc/cni/net.d && for f in *; do echo \"== $f\"; cat \"$f\"; done")
	must(t, err)
	return out
}

// callsByIdentity is a check that the strict client reaches the server with its identity,
// which nothing but two proxies can give it.
func callsByIdentity(ctx context.Context) error {
	out, err := st.Exec(ctx, "strict", "strict-client", "sleep", "curl", "-sS", "--max-time", "5", "http://strict-server:8000/headers")
	if err == nil && !strings.Contains(out, "URI=spiffe://cluster.local/ns/strict/sa/default") {
		err = fmt.Errorf("the call had no identity: %s", out)
	}
	return err
}

// TestNetworkPlugin: with the CNI plug-in pods of a namespace of the level restricted are in
// the mesh; one that started before it is repaired; and its removal leaves no trace.
func TestNetworkPlugin(t *testing.T) {
	must(t, st.Namespace(t.Context(), "inspect", false))
	apply(t, "inspect", inspector)
	kubectl(t, "-n", "inspect", "wait", "--for=condition=Ready", "pod/inspector", "--timeout=60s")
	before := networkConfig(t)
	_, err := onNode(t.Context(), "cd /etc/cni/net.d && cp -p $(ls | head -1) /tmp/network-before")
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		if err := st.Install(ctx); err != nil {
			t.Error(err)
		}
	})
	must(t, st.Install(t.Context(), "components.cni.enabled=true"))
	must(t, st.Namespace(t.Context(), "strict", true))
	kubectl(t, "label", "namespace", "strict", "pod-security.kubernetes.io/enforce=restricted", "--overwrite")
	t.Cleanup(func() { kubectlLater(t, "delete", "namespace", "strict", "--wait=false") })
	if with := networkConfig(t); !strings.Contains(with, `"type": "istio-cni"`) {
		t.Fatalf("the plug-in is not in the node's configuration:\n%s", with)
	}

	t.Run("restricted namespace", func(t *testing.T) {
		apply(t, "strict", strictPods)
		kubectl(t, "-n", "strict", "wait", "--for=condition=Ready", "pod/strict-server", "pod/strict-client", "--timeout=60s")
		eventually(t, callsByIdentity)
		if inits := kubectl(t, "-n", "strict", "get", "pod", "strict-client", "-o", "jsonpath={.spec.initContainers[*].name}"); !strings.HasPrefix(inits, "istio-validation") {
			t.Errorf("init containers are %s", inits)
		}
	})
	t.Run("rules proven by the agent of the node", func(t *testing.T) {
		apply(t, "strict", strictClient)
		kubectl(t, "-n", "strict", "wait", "--for=condition=Ready", "pod/strict-client", "--timeout=60s")
		out, err := st.Run(t.Context(), "sluice", "verify-rules", "strict-client", "-n", "strict")
		if must(t, err); !strings.Contains(out, "IPv4: proven for all packets") || !strings.Contains(out, "agent istio-system/istio-cni-node-") {
			t.Errorf("verify-rules: %s", out)
		}
	})
	t.Run("mistake in an annotation", func(t *testing.T) {
		apply(t, "inspect", mistaken)
		eventually(t, func(ctx context.Context) error {
			out, err := st.Kubectl(ctx, "-n", "inspect", "get", "events", "--field-selector", "involvedObject.name=mistaken", "-o", "jsonpath={.items[*].message}")
			if want := `metadata.annotations[traffic.sidecar.istio.io/includeInboundPorts]: "http" is not a port`; err == nil && !strings.Contains(out, want) {
				err = fmt.Errorf("events do not say %q: %s", want, out)
			}
			return err
		})
	})
	t.Run("configuration written anew", func(t *testing.T) {
		// As the cluster's network does at its own upgrade.
		_, err := onNode(t.Context(), "cd /etc/cni/net.d && cp /tmp/network-before $(ls | head -1)")
		must(t, err)
		eventually(t, func(context.Context) error {
			if !strings.Contains(networkConfig(t), "istio-cni") {
				return fmt.Errorf("the plug-in did not come back")
			}
			return nil
		})
	})
	t.Run("pod of before the plug-in", func(t *testing.T) {
		// Injection counts on the plug-in, which is gone.
		must(t, st.Install(t.Context(), "values.pilot.cni.enabled=true", "values.global.proxy.seccompProfile.type=RuntimeDefault"))
		eventually(t, func(context.Context) error {
			if now := networkConfig(t); now != before {
				return fmt.Errorf("the node's configuration is not what it was:\n%s\nbefore:\n%s", now, before)
			}
			return nil
		})
		apply(t, "strict", strictPods)
		eventually(t, func(ctx context.Context) error {
			out, err := st.Kubectl(ctx, "-n", "strict", "get", "pod", "strict-client", "-o",
				`jsonpath={.status.initContainerStatuses[?(@.name=="istio-validation")]}`)
			if err == nil && !strings.Contains(out, `"exitCode":126`) {
				err = fmt.Errorf("validation did not fail: %s", out)
			}
			return err
		})
		must(t, st.Install(t.Context(), "components.cni.enabled=true"))
		kubectl(t, "-n", "strict", "wait", "--for=condition=Ready", "pod/strict-server", "pod/strict-client", "--timeout=120s")
		eventually(t, callsByIdentity)
		events := kubectl(t, "-n", "strict", "get", "events", "--field-selector", "reason=InterceptionRepaired", "-o", "name")
		if events == "" {
			t.Error("nobody was told of the repair")
		}
	})
	must(t, st.Install(t.Context()))
	if err := stage.Eventually(t.Context(), time.Minute, func(ctx context.Context) error {
		left, err := onNode(ctx, "ls -d /opt/cni/bin/istio* /var/run/istio-cni/* 2>/dev/null || true")
		if now := networkConfig(t); err == nil && (now != before || left != "") {
			err = fmt.Errorf("left behind: %s\nconfiguration now:\n%s\nbefore:\n%s", left, now, before)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}
