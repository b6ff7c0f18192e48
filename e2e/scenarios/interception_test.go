package scenarios

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// asked is one pod of the scenario: what it asks for, and what becomes of its traffic.
type asked struct {
	name        string
	annotations string
	// spec is further YAML of the pod's specification, at its indentation.
	spec string
	// client is whom the application sees calling from outside the mesh: "proxy" or "peer".
	client string
	// direct is true if what the pod sends passes no proxy.
	direct bool
	// leak is a command that takes the rule out that captures what is sent; with none it is
	// not tried.
	leak string
}

// askedPod is an application and a shell beside it, in the namespace of the scenario.
const askedPod = `
apiVersion: v1
kind: Pod
metadata:
  name: %[1]s
  annotations: {%[2]s}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: demoapp
    image: ghcr.io/sluicemesh/demoapp:1.0
    imagePullPolicy: IfNotPresent
    env: [{name: PORT, value: "7171"}]
    ports: [{containerPort: 7171}]
    readinessProbe: {httpGet: {path: /readyz, port: 7171}, periodSeconds: 1}
  - name: sleep
    image: ghcr.io/sluicemesh/sleep:1.0
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
%[3]s`

const interceptionSpace = "interception"

func metadata(variables string) string {
	return fmt.Sprintf(`proxy.istio.io/config: "proxyMetadata: {%s}"`, variables)
}

func askedPods(httpbin string) []asked {
	const transparent = "sidecar.istio.io/interceptionMode: TPROXY, "
	nft, legacy, native := metadata("FORCE_IPTABLES_BINARY: nft"), metadata("FORCE_IPTABLES_BINARY: legacy"), metadata(`NATIVE_NFTABLES: 'true'`)
	return []asked{
		{name: "by-nft", annotations: nft, client: "proxy", leak: "iptables-nft -t nat -D OUTPUT 1"},
		{name: "by-legacy", annotations: legacy, client: "proxy", leak: "iptables-legacy -t nat -D OUTPUT 1"},
		{name: "by-nftables", annotations: native, client: "proxy", leak: "nft flush chain ip istio-proxy-nat output"},
		{name: "transparent-nft", annotations: transparent + nft, client: "peer"},
		{name: "transparent-legacy", annotations: transparent + legacy, client: "peer"},
		{name: "transparent-nftables", annotations: transparent + native, client: "peer"},
		{name: "apart", annotations: "sidecar.istio.io/interceptionMode: NONE", client: "peer", direct: true},
		{name: "other-user", client: "proxy", spec: `
  - name: istio-proxy
    image: auto
    securityContext: {runAsUser: 4711, runAsGroup: 4712}
`},
		{name: "port-in", annotations: `traffic.sidecar.istio.io/excludeInboundPorts: "7171"`, client: "peer"},
		{name: "port-out", annotations: `traffic.sidecar.istio.io/excludeOutboundPorts: "8000"`, client: "proxy", direct: true},
		{name: "range-out", annotations: `traffic.sidecar.istio.io/excludeOutboundIPRanges: "` + httpbin + `/32"`, client: "proxy", direct: true},
		{name: "listed-ports", annotations: `traffic.sidecar.istio.io/includeInboundPorts: "80,443"`, client: "peer"},
		{name: "nothing-out", annotations: `traffic.sidecar.istio.io/includeOutboundIPRanges: ""`, client: "proxy", direct: true},
		{name: "interface", annotations: `traffic.sidecar.istio.io/excludeInterfaces: eth0`, client: "peer", direct: true},
	}
}

// TestInterception: whatever a pod asks for and whatever writes its rules, its traffic goes
// the way it asks for, and verify-rules says so; when a rule is gone, it names the leak.
func TestInterception(t *testing.T) {
	must(t, st.Namespace(t.Context(), "inspect", false))
	must(t, st.Namespace(t.Context(), interceptionSpace, true))
	apply(t, "inspect", inspector, outsider)
	httpbin := kubectl(t, "get", "service", "httpbin", "-o", "jsonpath={.spec.clusterIP}")
	pods := askedPods(httpbin)
	var manifests []string
	for _, p := range pods {
		manifests = append(manifests, fmt.Sprintf(askedPod, p.name, p.annotations, p.spec))
	}
	apply(t, interceptionSpace, strings.Join(manifests, "---\n"))
	kubectl(t, "-n", "inspect", "wait", "--for=condition=Ready", "pod/inspector", "pod/outsider", "--timeout=60s")
	kubectl(t, "-n", interceptionSpace, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=180s")
	outside := kubectl(t, "-n", "inspect", "get", "pod", "outsider", "-o", "jsonpath={.status.podIP}")
	for _, p := range pods {
		t.Run(p.name, func(t *testing.T) {
			eventually(t, func(ctx context.Context) error { return p.received(ctx, outside) })
			eventually(t, func(ctx context.Context) error { return p.sent(ctx, p.direct) })
			verified(t, p.name)
			if p.leak != "" {
				p.leaks(t)
			}
		})
	}
	t.Run("trace", testTrace)
}

// received checks whom the application sees when the outsider calls its address.
func (p asked) received(ctx context.Context, outside string) error {
	address, err := st.Kubectl(ctx, "-n", interceptionSpace, "get", "pod", p.name, "-o", "jsonpath={.status.podIP}")
	if err != nil {
		return err
	}
	out, err := st.Exec(ctx, "inspect", "outsider", "sleep", "curl", "-sSi", "--max-time", "5", "http://"+address+":7171/")
	if err != nil {
		return err
	}
	client := outside
	if p.client == "proxy" {
		client = "127.0.0.6"
	}
	if !strings.Contains(out, "ClientIP: "+client+",") {
		return fmt.Errorf("the application sees another client than %s: %s", client, out)
	}
	return nil
}

// sent checks that what the pod sends passes its proxy, which shows its identity, or does not.
func (p asked) sent(ctx context.Context, direct bool) error {
	out, err := st.Exec(ctx, interceptionSpace, p.name, "sleep", "curl", "-sS", "--max-time", "5", "http://httpbin.default:8000/headers")
	if err != nil {
		return err
	}
	if identity := strings.Contains(out, "URI=spiffe://cluster.local/ns/"+interceptionSpace); identity == direct {
		return fmt.Errorf("httpbin was shown an identity: %t, want %t; it got %s", identity, !direct, out)
	}
	return nil
}

// verified checks that verify-rules proves a pod of the scenario.
func verified(t *testing.T, pod string) {
	t.Helper()
	out, err := st.Run(t.Context(), "sluice", "verify-rules", pod, "-n", interceptionSpace)
	must(t, err)
	if want := "Pod " + interceptionSpace + "/" + pod + ": ✔ "; !strings.HasPrefix(out, want) {
		t.Errorf("verify-rules says\n%s\nwant %s", out, want)
	}
}

// leaks takes a rule out and checks that packets pass the proxy by, and that verify-rules says
// which.
func (p asked) leaks(t *testing.T) {
	t.Helper()
	uid := kubectl(t, "-n", interceptionSpace, "get", "pod", p.name, "-o", "jsonpath={.metadata.uid}")
	_, err := inNetwork(t.Context(), uid, p.leak)
	must(t, err)
	eventually(t, func(ctx context.Context) error { return p.sent(ctx, true) })
	out, err := st.Run(t.Context(), "sluice", "verify-rules", p.name, "-n", interceptionSpace)
	if err == nil {
		t.Fatalf("verify-rules finds nothing wrong without the rule:\n%s", out)
	}
	for _, want := range []string{": ✘ packets go other ways than they should", "15001"} {
		if !strings.Contains(out, want) {
			t.Errorf("verify-rules says\n%s\nwant %q in it", out, want)
		}
	}
}

// testTrace: trace-packet shows where packets go that the scenario cannot send.
func testTrace(t *testing.T) {
	for _, tt := range []struct{ pod, packet, want string }{
		{"by-nft", "--in eth0 --from 192.0.2.1 --to POD:7171", "15006"},
		{"by-nft", "--in eth0 --from 192.0.2.1 --to POD:15020", "left alone"},
		{"transparent-nftables", "--to 192.0.2.1:443 --uid 1000", "15001"},
		{"other-user", "--to 192.0.2.1:443 --uid 4711", "left alone"},
		{"other-user", "--to 192.0.2.1:443 --uid 1337 --gid 1337", "15001"},
		{"port-out", "--to 192.0.2.1:8000 --uid 1000", "left alone"},
	} {
		address := kubectl(t, "-n", interceptionSpace, "get", "pod", tt.pod, "-o", "jsonpath={.status.podIP}")
		args := append([]string{"trace-packet", tt.pod, "-n", interceptionSpace}, strings.Fields(strings.ReplaceAll(tt.packet, "POD", address))...)
		out, err := st.Run(t.Context(), "sluice", args...)
		must(t, err)
		if !strings.Contains(out, tt.want) {
			t.Errorf("sluice %s says\n%s\nwant %q in it", strings.Join(args, " "), out, tt.want)
		}
	}
}

// probedPod is an application that the kubelet asks in every way that needs no server of its
// own kind, while all its ports are captured, and a Job whose rules are nftables' own.
const probedPod = `
apiVersion: v1
kind: Pod
metadata: {name: probed}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: demoapp
    image: ghcr.io/sluicemesh/demoapp:1.0
    imagePullPolicy: IfNotPresent
    env: [{name: PORT, value: "7171"}]
    startupProbe: {tcpSocket: {port: 7171}, periodSeconds: 1}
    readinessProbe: {httpGet: {path: /readyz, port: 7171}, periodSeconds: 1}
    livenessProbe: {httpGet: {path: /livez, port: 7171}, periodSeconds: 1, failureThreshold: 1}
  - name: sleep
    image: ghcr.io/sluicemesh/sleep:1.0
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    livenessProbe: {exec: {command: ["true"]}, periodSeconds: 1, failureThreshold: 1}
    readinessProbe: {tcpSocket: {port: 7171}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: unready}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: demoapp
    image: ghcr.io/sluicemesh/demoapp:1.0
    imagePullPolicy: IfNotPresent
    env: [{name: PORT, value: "7171"}]
    readinessProbe: {httpGet: {path: /none, port: 7171}, periodSeconds: 1}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  backoffLimit: 0
  template:
    metadata:
      annotations: {%s}
    spec:
      restartPolicy: Never
      containers:
      - name: sleep
        image: ghcr.io/sluicemesh/sleep:1.0
        imagePullPolicy: IfNotPresent
        command: [curl, -sSf, --max-time, "10", "http://httpbin.default:8000/headers"]
`

// TestKubeletAndCapture: probes reach the application through the agent, whose port is left
// alone, and say the truth; a Job with a proxy ends.
func TestKubeletAndCapture(t *testing.T) {
	must(t, st.Namespace(t.Context(), interceptionSpace, true))
	apply(t, interceptionSpace, fmt.Sprintf(probedPod, metadata(`NATIVE_NFTABLES: 'true'`)))
	kubectl(t, "-n", interceptionSpace, "wait", "--for=condition=Ready", "pod/probed", "--timeout=60s")
	kubectl(t, "-n", interceptionSpace, "wait", "--for=condition=Complete", "job/once", "--timeout=60s")
	if out := kubectl(t, "-n", interceptionSpace, "logs", "job/once", "-c", "sleep"); !strings.Contains(out, "URI=spiffe://cluster.local/ns/"+interceptionSpace) {
		t.Errorf("the Job's call passed no proxy: %s", out)
	}
	const ports = `jsonpath={.spec.containers[*].startupProbe.httpGet.port} {.spec.containers[*].readinessProbe.httpGet.port} {.spec.containers[*].livenessProbe.httpGet.port}`
	if got := kubectl(t, "-n", interceptionSpace, "get", "pod", "probed", "-o", ports); got != "15020 15020 15020 15020" {
		t.Errorf("probes ask ports %q, want those of TCP and HTTP at the agent", got)
	}
	const state = `jsonpath={.status.containerStatuses[?(@.name=="demoapp")].restartCount} {.status.containerStatuses[?(@.name=="demoapp")].ready}`
	if got := kubectl(t, "-n", interceptionSpace, "get", "pod", "probed", "-o", state); got != "0 true" {
		t.Errorf("restarts and readiness are %q", got)
	}
	eventually(t, func(ctx context.Context) error { // the kubelet has asked, and was told the application's answer
		out, err := st.Kubectl(ctx, "-n", interceptionSpace, "get", "events", "--field-selector=involvedObject.name=unready,reason=Unhealthy", "-o", "jsonpath={.items[*].message}")
		if err == nil && !strings.Contains(out, "statuscode: 404") {
			err = fmt.Errorf("events of the pod that is not ready: %q", out)
		}
		return err
	})
	if got := kubectl(t, "-n", interceptionSpace, "get", "pod", "unready", "-o", state); got != "0 false" {
		t.Errorf("restarts and readiness of the pod with a failing probe are %q", got)
	}
}

// TestNativeNftablesForTheMesh: the chart value makes every new pod's rules nftables' own.
func TestNativeNftablesForTheMesh(t *testing.T) {
	must(t, st.Namespace(t.Context(), "inspect", false))
	must(t, st.Namespace(t.Context(), interceptionSpace, true))
	apply(t, "inspect", inspector)
	kubectl(t, "-n", "inspect", "wait", "--for=condition=Ready", "pod/inspector", "--timeout=60s")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		if err := st.Install(ctx); err != nil {
			t.Error(err)
		}
	})
	must(t, st.Install(t.Context(), "values.global.nativeNftables=true"))
	p := asked{name: "native", client: "proxy"}
	eventually(t, func(ctx context.Context) error { // the injector reads its settings some moments later
		if err := st.Delete(ctx, interceptionSpace, fmt.Sprintf(askedPod, p.name, "", "")); err != nil {
			return err
		}
		if err := st.Apply(ctx, interceptionSpace, fmt.Sprintf(askedPod, p.name, "", "")); err != nil {
			return err
		}
		args, err := st.Kubectl(ctx, "-n", interceptionSpace, "get", "pod", p.name, "-o", `jsonpath={.spec.initContainers[?(@.name=="istio-init")].args}`)
		if err == nil && !strings.Contains(args, "--native-nftables") {
			err = fmt.Errorf("istio-init has arguments %s", args)
		}
		return err
	})
	t.Cleanup(func() { kubectlLater(t, "-n", interceptionSpace, "delete", "pod", p.name, "--ignore-not-found") })
	kubectl(t, "-n", interceptionSpace, "wait", "--for=condition=Ready", "pod/"+p.name, "--timeout=60s")
	eventually(t, func(ctx context.Context) error { return p.sent(ctx, false) })
	verified(t, p.name)
	uid := kubectl(t, "-n", interceptionSpace, "get", "pod", p.name, "-o", "jsonpath={.metadata.uid}")
	tables, err := inNetwork(t.Context(), uid, "nft list tables")
	must(t, err)
	if !strings.Contains(tables, "table ip istio-proxy-nat") || strings.Contains(tables, "table ip nat") {
		t.Errorf("the pod has tables\n%s\nwant nftables' own and none of iptables", tables)
	}
}
