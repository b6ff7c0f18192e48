package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/vishvananda/netns"
	"golang.org/x/sync/errgroup"

	"github.com/sluicemesh/sluice/initcontainer/cni/kube"
	"github.com/sluicemesh/sluice/initcontainer/netlab"
)

// host is what the plug-in finds on a node: its program, access to an API server that knows
// the pods, and a pod's network namespace.
type host struct {
	program, kubeconfig string
	lab                 *netlab.Lab
	pods                map[string]string // by path
	asked               []string
}

func newHost(t testing.TB) *host {
	t.Helper()
	n := &host{lab: netlab.New(t, true), pods: map[string]string{}}
	n.program = filepath.Join(t.TempDir(), "istio-cni")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", n.program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.asked = append(n.asked, r.URL.Path)
		text, ok := n.pods[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprint(w, text)
	}))
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	text, err := kube.Access{Server: server.URL, CA: ca, Token: "t"}.Kubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	n.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(n.kubeconfig, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return n
}

// add makes a pod known.
func (n *host) add(name, annotations string) {
	n.pods["/api/v1/namespaces/shop/pods/"+name] = fmt.Sprintf(`{
	"metadata": {"name": %q, "namespace": "shop", "uid": "uid-%s", "annotations": {%s}},
	"spec": {"containers": [{"name": "app"}, {"name": "istio-proxy", "args": ["proxy", "sidecar"],
		"securityContext": {"runAsUser": 1337, "runAsGroup": 1337}}]}}`, name, name, annotations)
}

const injected = `"sidecar.istio.io/status": "{}"`

// call is one call of the runtime.
type call struct {
	command, pod string
	namespace    string            // "shop" if empty
	version      string            // "1.0.0" if empty
	annotations  map[string]string // that the runtime hands over, nil for none
	alone        bool              // no plug-in was called before
	netns        netns.NsHandle    // the lab's pod if 0
}

type outcome struct {
	code           int
	stdout, stderr string
}

func (n *host) call(t testing.TB, c call) outcome {
	t.Helper()
	if c.namespace == "" {
		c.namespace = "shop"
	}
	if c.version == "" {
		c.version = "1.0.0"
	}
	if c.netns == 0 {
		c.netns = n.lab.Pod
	}
	conf := map[string]any{
		"cniVersion": c.version, "name": "net", "type": "istio-cni", "log_level": "debug", "native_nftables": true,
		"kubernetes": map[string]any{"kubeconfig": n.kubeconfig, "exclude_namespaces": []string{"kube-system"}},
	}
	if !c.alone {
		conf["prevResult"] = json.RawMessage(previous(c.version))
	}
	if c.annotations != nil {
		conf["runtimeConfig"] = map[string]any{"io.kubernetes.cri.pod-annotations": c.annotations}
	}
	stdin, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(n.program)
	cmd.Env = []string{
		"PATH=/nonexistent", "CNI_COMMAND=" + c.command, "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_PATH=/opt/cni/bin",
		fmt.Sprintf("CNI_NETNS=/proc/%d/fd/%d", os.Getpid(), int(c.netns)),
		"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=" + c.namespace + ";K8S_POD_NAME=" + c.pod + ";K8S_POD_UID=uid-" + c.pod,
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	if err, exit := cmd.Run(), (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// previous is what the plug-ins before return.
func previous(version string) string {
	if version < "1" {
		return `{"cniVersion":"` + version + `","interfaces":[{"name":"eth0","sandbox":"/ns"}],"ips":[{"version":"4","address":"10.244.0.5/24","interface":0}],"dns":{}}`
	}
	return `{"cniVersion":"` + version + `","interfaces":[{"name":"eth0","sandbox":"/ns"}],"ips":[{"address":"10.244.0.5/24","interface":0}]}`
}

// listen answers name on a port of a namespace until the test ends.
func listen(t *testing.T, ns netns.NsHandle, port int, name string) {
	t.Helper()
	var l net.Listener
	err := netlab.In(ns, func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", port))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var serving errgroup.Group
	serving.Go(func() error {
		for {
			conn, err := l.Accept()
			if err != nil {
				return nil // closed
			}
			_, _ = conn.Write([]byte(name)) // who does not listen has failed already
			_ = conn.Close()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		_ = serving.Wait()
	})
}

// leadsTo is where a connection of the pod's to the world ends up.
func (n *host) leadsTo(t *testing.T) string {
	t.Helper()
	var said []byte
	err := netlab.In(n.lab.Pod, func() error {
		conn, err := net.DialTimeout("tcp4", netlab.Remote4+":80", 5*time.Second)
		if err != nil {
			return err
		}
		said, err = io.ReadAll(conn)
		return errors.Join(err, conn.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(said)
}

// lose takes all rules out of the pod's namespace.
func (n *host) lose(t *testing.T) {
	t.Helper()
	err := netlab.In(n.lab.Pod, func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		conn.FlushRuleset()
		return conn.Flush()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAdd: for each version of the protocol the pod's traffic is captured, the result of the
// plug-ins before is handed on, and a second call changes nothing.
func TestAdd(t *testing.T) {
	for _, version := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		t.Run(version, func(t *testing.T) {
			n := newHost(t)
			listen(t, n.lab.Pod, 15001, "proxy")
			listen(t, n.lab.Peer, 80, "remote")
			n.add("web", injected)
			if got := n.leadsTo(t); got != "remote" {
				t.Fatalf("before: a connection leads to %s", got)
			}
			for range 2 {
				out := n.call(t, call{command: "ADD", pod: "web", version: version})
				if out.code != 0 {
					t.Fatalf("ADD: %+v", out)
				}
				if diff := cmp.Diff(compact(t, previous(version)), compact(t, out.stdout)); diff != "" {
					t.Errorf("result (-want +got):\n%s", diff)
				}
				if got := n.leadsTo(t); got != "proxy" {
					t.Errorf("after: a connection leads to %s", got)
				}
			}
			if version >= "0.4.0" {
				if out := n.call(t, call{command: "CHECK", pod: "web", version: version}); out.code != 0 {
					t.Errorf("CHECK: %+v", out)
				}
				n.lose(t)
				if out := n.call(t, call{command: "CHECK", pod: "web", version: version}); out.code == 0 {
					t.Errorf("CHECK without rules: %+v", out)
				}
			}
			if out := n.call(t, call{command: "DEL", pod: "web", version: version}); out.code != 0 || out.stdout != "" {
				t.Errorf("DEL: %+v", out)
			}
		})
	}
}

func compact(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

// TestLeftAlone: pods that are none of the plug-in's business start, the API server up or not.
func TestLeftAlone(t *testing.T) {
	n := newHost(t)
	listen(t, n.lab.Pod, 15001, "proxy")
	listen(t, n.lab.Peer, 80, "remote")
	n.add("plain", "")
	n.add("none", injected+`, "sidecar.istio.io/interceptionMode": "NONE"`)
	tests := []struct {
		name  string
		call  call
		asked int
	}{
		{"excluded namespace", call{pod: "any", namespace: "kube-system"}, 0},
		{"no pod", call{}, 0},
		{"the runtime says it is not injected", call{pod: "any", annotations: map[string]string{}}, 0},
		{"not injected", call{pod: "plain"}, 1},
		{"mode NONE", call{pod: "none", annotations: map[string]string{"sidecar.istio.io/status": "{}"}}, 1},
		{"alone", call{pod: "plain", alone: true}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n.asked = nil
			tt.call.command = "ADD"
			out := n.call(t, tt.call)
			if out.code != 0 || !strings.Contains(out.stdout, `"cniVersion": "1.0.0"`) || len(n.asked) != tt.asked {
				t.Errorf("ADD: %+v, asked %v", out, n.asked)
			}
			if got := n.leadsTo(t); got != "remote" {
				t.Errorf("a connection leads to %s", got)
			}
		})
	}
}

// TestRefused: a pod of the mesh that cannot be captured as asked does not start.
func TestRefused(t *testing.T) {
	n := newHost(t)
	n.add("bad", injected+`, "traffic.sidecar.istio.io/includeInboundPorts": "http"`)
	n.add("web", injected)
	own, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	for name, tt := range map[string]struct {
		call call
		want string
	}{
		"annotation":           {call{pod: "bad"}, `Pod shop/bad: metadata.annotations[traffic.sidecar.istio.io/includeInboundPorts]: \"http\" is not a port`},
		"the node's namespace": {call{pod: "web", netns: own}, "the network namespace is the node's"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.call.command = "ADD"
			out := n.call(t, tt.call)
			var said struct{ Code int }
			if err := json.Unmarshal([]byte(out.stdout), &said); err != nil || out.code != 1 || said.Code != 107 || !strings.Contains(out.stdout, tt.want) {
				t.Errorf("ADD: %+v; want an error with %s", out, tt.want)
			}
		})
	}
	// What ends cannot be kept from ending.
	if out := n.call(t, call{command: "DEL", pod: "gone", netns: own}); out.code == 0 && out.stdout != "" {
		t.Errorf("DEL: %+v", out)
	}
}

func TestOtherCommands(t *testing.T) {
	n := newHost(t)
	for command, want := range map[string]string{
		"VERSION": `"supportedVersions":["0.3.1","0.4.0","1.0.0","1.1.0"]`,
		"STATUS":  "",
		"GC":      "",
	} {
		if out := n.call(t, call{command: command, version: "1.1.0"}); out.code != 0 || !strings.Contains(out.stdout, want) {
			t.Errorf("%s: %+v", command, out)
		}
	}
	cmd := exec.Command(n.program)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "The network plug-in of the Sluice mesh") {
		t.Errorf("without a command: %v\n%s", err, out)
	}
	cmd = exec.Command(n.program, "install")
	cmd.Env = []string{"LOG_LEVEL=loud", "REPAIR_REPAIR_PODS=maybe"}
	out, err = cmd.CombinedOutput()
	for _, want := range []string{`LOG_LEVEL: "loud" is not one of`, `REPAIR_REPAIR_PODS: "maybe" is neither`, "KUBERNETES_SERVICE_HOST"} {
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("install does not say %q: %v\n%s", want, err, out)
		}
	}
}

// BenchmarkAdd is a call of the runtime, from the start of the process to its end, into a
// namespace that has the rules already after the first time.
func BenchmarkAdd(b *testing.B) {
	n := newHost(b)
	n.add("web", injected)
	for name, c := range map[string]call{
		"mesh":    {command: "ADD", pod: "web"},
		"other":   {command: "ADD", pod: "web", annotations: map[string]string{}},
		"version": {command: "VERSION"},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if out := n.call(b, c); out.code != 0 {
					b.Fatalf("%+v", out)
				}
			}
		})
	}
}
