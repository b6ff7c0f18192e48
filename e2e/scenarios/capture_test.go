package scenarios

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// kubectlLater runs kubectl in a cleanup, when the test's own context has ended.
func kubectlLater(t *testing.T, args ...string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := st.Kubectl(ctx, args...); err != nil {
		t.Error(err)
	}
}

// inspector runs commands as the node's root: it reads packet counters in other pods'
// network namespaces, as an administrator would on the node.
const inspector = `
apiVersion: v1
kind: Pod
metadata:
  name: inspector
spec:
  hostPID: true
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  containers:
  - name: shell
    image: ghcr.io/sluicemesh/sleep:1.0
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    securityContext:
      privileged: true
      runAsUser: 0
`

// onNode runs a shell command on the node of the inspector.
func onNode(ctx context.Context, script string) (string, error) {
	return st.Exec(ctx, "inspect", "inspector", "shell", "busybox", "nsenter", "-t", "1", "-m", "-u", "-i", "-n", "-p", "--", "sh", "-c", script)
}

var redirected = regexp.MustCompile(`\[(\d+):\d+\] -A ISTIO_REDIRECT .*-j REDIRECT --to-ports 15001`)

// inNetwork runs a command of the node in the network namespace of a pod.
func inNetwork(ctx context.Context, podUID, command string) (string, error) {
	// A pod's processes have the pod's UID in their control group, with dashes or underscores.
	pattern := strings.ReplaceAll(podUID, "-", "[-_]")
	return onNode(ctx, fmt.Sprintf(
		`for p in /proc/[0-9]*; do if grep -qs "%s" $p/cgroup; then exec nsenter -t ${p#/proc/} -n %s; fi; done; exit 1`, pattern, command))
}

// captured returns how many connections of a pod went to the outbound listener so far, by
// the packet counter of the redirecting rule (nat sees the first packet of each).
func captured(ctx context.Context, podUID string) (int, error) {
	out, err := inNetwork(ctx, podUID, "iptables-nft-save -c -t nat")
	if err != nil {
		return 0, err
	}
	m := redirected.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("no redirecting rule in\n%s", out)
	}
	return strconv.Atoi(m[1])
}

// TestAnnotationNarrowsTheCapture: W2, includeOutboundIPRanges takes only what it names.
func TestAnnotationNarrowsTheCapture(t *testing.T) {
	must(t, st.Namespace(t.Context(), "inspect", false))
	apply(t, "inspect", inspector)
	kubectl(t, "-n", "inspect", "wait", "--for=condition=Ready", "pod/inspector", "--timeout=60s")
	service := kubectl(t, "get", "service", "httpbin", "-o", "jsonpath={.spec.clusterIP}")
	pod := kubectl(t, "get", "pods", "-l", "app=httpbin", "-o", "jsonpath={.items[0].status.podIP}")
	apply(t, "default", fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata:
  name: narrow
  annotations:
    traffic.sidecar.istio.io/includeOutboundIPRanges: "127.0.0.1/24,%s/32"
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: sleep
    image: ghcr.io/sluicemesh/sleep:1.0
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
`, service))
	kubectl(t, "wait", "--for=condition=Ready", "pod/narrow", "--timeout=90s")
	uid := kubectl(t, "get", "pod", "narrow", "-o", "jsonpath={.metadata.uid}")
	count := func() int {
		t.Helper()
		n, err := captured(t.Context(), uid)
		must(t, err)
		return n
	}
	call := func(url string) {
		t.Helper()
		for range 3 {
			_, err := st.Exec(t.Context(), "default", "narrow", "sleep", "curl", "-sSf", "--max-time", "10", "-o", "/dev/null", url)
			must(t, err)
		}
	}
	before := count()
	call("http://" + service + ":8000/get")
	if got := count() - before; got != 3 {
		t.Errorf("three connections inside the range: %d captured, want 3", got)
	}
	before = count()
	call("http://" + pod + ":8080/get")
	if got := count() - before; got != 0 {
		t.Errorf("three connections outside the range: %d captured, want none", got)
	}
}
