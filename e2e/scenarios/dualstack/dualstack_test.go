package dualstack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicemesh/sluice/e2e/cluster"
	"github.com/sluicemesh/sluice/e2e/cluster/settings"
	"github.com/sluicemesh/sluice/e2e/stage"
)

// manifests are a server on one node and a client on the other; both Services have both
// families.
const manifests = `
apiVersion: v1
kind: Service
metadata:
  name: server
spec:
  ipFamilyPolicy: RequireDualStack
  selector:
    app: server
  ports:
  - name: http
    port: 8000
    targetPort: 8080
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: server
spec:
  selector:
    matchLabels:
      app: server
  template:
    metadata:
      labels:
        app: server
    spec:
      terminationGracePeriodSeconds: 0
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
          - topologyKey: kubernetes.io/hostname
            labelSelector:
              matchLabels:
                app: sleep
      containers:
      - name: httpbin
        image: ghcr.io/sluicemesh/httpbin:1.0
        imagePullPolicy: IfNotPresent
        ports:
        - containerPort: 8080
`

func TestBothFamiliesAcrossNodes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	config := cluster.Config{Name: "sluice-dual", Nodes: 2, IPFamily: settings.Dual}
	st, err := stage.Prepare(ctx, stage.Config{Cluster: config, Root: root, Log: os.Stderr})
	if os.Getenv("SLUICE_KEEP") == "" && os.Getenv("CLUSTER") != "current" {
		t.Cleanup(func() {
			config.Log = os.Stderr
			if err := cluster.Down(context.WithoutCancel(ctx), config); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err = st.Kubectl(ctx, "label", "namespace", "default", "istio-injection=enabled", "--overwrite")
	must(err)
	must(st.Apply(ctx, "default", "samples/sleep/sleep.yaml"))
	must(st.Rollout(ctx, "default", "deploy/sleep"))
	must(st.Apply(ctx, "default", manifests))
	must(st.Rollout(ctx, "default", "deploy/server"))

	nodes, err := st.Kubectl(ctx, "-n", "default", "get", "pods", "-o", `jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}`)
	must(err)
	if first, second, _ := strings.Cut(strings.TrimSpace(nodes), "\n"); first == second {
		t.Fatalf("client and server share the node %s", first)
	}
	addresses, err := st.Kubectl(ctx, "-n", "default", "get", "service", "server", "-o", "jsonpath={.spec.clusterIPs[*]}")
	must(err)
	if len(strings.Fields(addresses)) != 2 {
		t.Fatalf("service addresses %q, want one of each family", addresses)
	}
	for _, address := range strings.Fields(addresses) {
		t.Run(address, func(t *testing.T) {
			url := "http://" + address + ":8000/headers"
			if strings.Contains(address, ":") {
				url = "http://[" + address + "]:8000/headers"
			}
			err := stage.Eventually(t.Context(), 30*time.Second, func(ctx context.Context) error { return secured(ctx, st, url) })
			if err != nil {
				t.Error(err)
			}
		})
	}
	proven(t, st, "app=server")
	proven(t, st, "app=sleep")
}

// proven checks that the rules of a pod capture exactly what it asks for, in both families.
func proven(t *testing.T, st *stage.Stage, label string) {
	t.Helper()
	pod, err := st.Kubectl(t.Context(), "-n", "default", "get", "pods", "-l", label, "-o", "jsonpath={.items[0].metadata.name} {.items[0].status.podIPs[*].ip}")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(pod)
	if len(words) != 3 {
		t.Fatalf("pod %q, want a name and an address of each family", pod)
	}
	out, err := st.Run(t.Context(), "sluice", "verify-rules", words[0], "-n", "default")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out, "Pod default/"+words[0]+": ✔ ") {
		t.Errorf("verify-rules says\n%s", out)
	}
	for _, address := range words[1:] {
		peer, to := "192.0.2.1", netip.AddrPortFrom(netip.MustParseAddr(address), 8080).String()
		if strings.Contains(address, ":") {
			peer = "2001:db8::1"
		}
		out, err := st.Run(t.Context(), "sluice", "trace-packet", words[0], "-n", "default", "--in", "eth0", "--from", peer, "--to", to)
		if err != nil || !strings.Contains(out, "15006") {
			t.Errorf("trace-packet to %s: %v, want port 15006 in\n%s", to, err, out)
		}
	}
}

// secured checks that a request went through both proxies: the server's application sees
// the identity that the client's proxy proved to the server's.
func secured(ctx context.Context, st *stage.Stage, url string) error {
	out, err := st.Curl(ctx, "default", "-g", url)
	if err != nil {
		return err
	}
	var answer struct {
		Headers map[string][]string `json:"headers"`
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return fmt.Errorf("answer %q: %w", out, err)
	}
	got := strings.Join(answer.Headers["X-Forwarded-Client-Cert"], ",")
	if !strings.Contains(got, "URI=spiffe://cluster.local/ns/default/sa/sleep") {
		return fmt.Errorf("%s: x-forwarded-client-cert %q lacks the client's identity", url, got)
	}
	return nil
}
