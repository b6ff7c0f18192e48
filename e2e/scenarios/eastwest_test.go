package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const demoappCluster = "outbound|8080||demoappv10.default.svc.cluster.local"

// TestPodsRunWithTheProxy: W2, pods of a labelled namespace come up as 2/2.
func TestPodsRunWithTheProxy(t *testing.T) {
	for _, app := range []string{"sleep", "demoapp", "httpbin"} {
		out := kubectl(t, "get", "pods", "-l", "app="+app, "--no-headers")
		for line := range strings.Lines(out) {
			if fields := strings.Fields(line); fields[1] != "2/2" || fields[2] != "Running" {
				t.Errorf("pod of %s: %s", app, line)
			}
		}
		names := kubectl(t, "get", "pods", "-l", "app="+app, "-o", "jsonpath={.items[0].spec.initContainers[*].name} {.items[0].spec.containers[*].name}")
		for _, want := range []string{"istio-init", "istio-proxy"} {
			if !slices.Contains(strings.Fields(names), want) {
				t.Errorf("containers of %s are %s, want %s among them", app, names, want)
			}
		}
	}
}

// TestPodOptsOut: a label on the pod beats the namespace's.
func TestPodOptsOut(t *testing.T) {
	apply(t, "default", `
apiVersion: v1
kind: Pod
metadata:
  name: opted-out
  labels:
    sidecar.istio.io/inject: "false"
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: sleep
    image: ghcr.io/sluicemesh/sleep:1.0
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
`)
	if got := kubectl(t, "get", "pod", "opted-out", "-o", "jsonpath={.spec.initContainers[*].name}{.spec.containers[*].name}"); got != "sleep" {
		t.Errorf("containers %q, want just sleep", got)
	}
}

var demoappReply = regexp.MustCompile(`ClientIP: (\S+), ServerName: (\S+), ServerIP: (\S+)!`)

// TestThreeReplicasInTurn: W3, the client's proxy balances over the replicas, and each
// sees its own proxy as the client.
func TestThreeReplicasInTurn(t *testing.T) {
	servers := map[string]int{}
	for range 30 {
		out, err := st.Curl(t.Context(), "default", "demoappv10:8080")
		must(t, err)
		m := demoappReply.FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("answer %q", out)
		}
		if m[1] != "127.0.0.6" {
			t.Fatalf("ClientIP %s, want 127.0.0.6: %s", m[1], out)
		}
		servers[m[2]]++
	}
	if len(servers) != 3 {
		t.Errorf("30 requests were answered by %v, want three servers", servers)
	}
}

// TestMutualTLSBetweenPods: the server's proxy has verified the client's certificate, and
// names both ends of the connection to the application.
func TestMutualTLSBetweenPods(t *testing.T) {
	out, err := st.Curl(t.Context(), "default", "httpbin:8000/headers")
	must(t, err)
	var answer struct {
		Headers map[string][]string `json:"headers"`
	}
	must(t, json.Unmarshal([]byte(out), &answer))
	got := strings.Join(answer.Headers["X-Forwarded-Client-Cert"], ",")
	for _, want := range []string{"By=spiffe://cluster.local/ns/default/sa/httpbin", "URI=spiffe://cluster.local/ns/default/sa/sleep"} {
		if !strings.Contains(got, want) {
			t.Errorf("x-forwarded-client-cert %q lacks %q", got, want)
		}
	}
}

// TestPlainClientIsServed: PERMISSIVE, a client without a proxy reaches a server with one.
func TestPlainClientIsServed(t *testing.T) {
	must(t, st.Namespace(t.Context(), "plain", false))
	apply(t, "plain", "samples/sleep/sleep.yaml")
	must(t, st.Rollout(t.Context(), "plain", "deploy/sleep"))
	out, err := st.Curl(t.Context(), "plain", "httpbin.default:8000/headers")
	must(t, err)
	if strings.Contains(out, "X-Forwarded-Client-Cert") {
		t.Errorf("a plain-text client has a certificate: %s", out)
	}
	if !strings.Contains(out, "X-Request-Id") {
		t.Errorf("the request did not pass the server's proxy: %s", out)
	}
}

// TestPlainServerIsReached: a client with a proxy reaches a server without one.
func TestPlainServerIsReached(t *testing.T) {
	must(t, st.Namespace(t.Context(), "plain", false))
	apply(t, "plain", "samples/httpbin/httpbin.yaml")
	must(t, st.Rollout(t.Context(), "plain", "deploy/httpbin"))
	eventually(t, func(ctx context.Context) error {
		out, err := st.Curl(ctx, "default", "-o", "/dev/null", "-w", "%{http_code}", "httpbin.plain:8000/get")
		if err == nil && out != "200" {
			err = fmt.Errorf("status %s", out)
		}
		return err
	})
}

// TestScalingReachesTheProxies: W3, more and fewer replicas are seen in the client's Envoy.
func TestScalingReachesTheProxies(t *testing.T) {
	t.Cleanup(func() { kubectlLater(t, "scale", "deploy/demoappv10", "--replicas=3") })
	for _, replicas := range []int{5, 2, 3} {
		kubectl(t, "scale", "deploy/demoappv10", fmt.Sprintf("--replicas=%d", replicas))
		must(t, st.Rollout(t.Context(), "default", "deploy/demoappv10"))
		eventually(t, func(ctx context.Context) error {
			want, err := podAddresses(ctx, "default", "app=demoapp,version=v1.0", 8080)
			if err != nil {
				return err
			}
			got, err := endpoints(ctx, "default", "deploy/sleep", demoappCluster)
			if err == nil && (len(want) != replicas || !slices.Equal(got, want)) {
				err = fmt.Errorf("envoy has %v, the cluster has %v, want %d", got, want, replicas)
			}
			return err
		})
	}
}
