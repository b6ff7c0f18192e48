package repair

import (
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netns"
	"golang.org/x/sync/errgroup"

	"github.com/sluicemesh/sluice/initcontainer/cni/kube"
	"github.com/sluicemesh/sluice/initcontainer/cni/plugin"
	"github.com/sluicemesh/sluice/initcontainer/cni/pod"
	"github.com/sluicemesh/sluice/initcontainer/netlab"
)

const uid = "0b7f2a6e-5a5c-4d8e-9d5e-111111111111"

// broken is a pod whose validation has failed; change makes another of it.
func broken(change func(*pod.Pod)) *pod.Pod {
	p := &pod.Pod{
		Metadata: pod.Metadata{Name: "web", Namespace: "shop", UID: uid, Annotations: map[string]string{"sidecar.istio.io/status": "{}"}},
		Spec:     pod.Spec{Containers: []pod.Container{{Name: "istio-proxy", Args: []string{"proxy", "sidecar"}}}},
		Status: pod.Status{Phase: "Pending", PodIP: netlab.Pod4, InitContainerStatuses: []pod.ContainerStatus{{
			Name: "istio-validation", RestartCount: 1, LastState: pod.State{Terminated: &pod.Terminated{ExitCode: 126}},
		}}},
	}
	if change != nil {
		change(p)
	}
	return p
}

// world is an API server that notes what it is told, and a repairer.
type world struct {
	Repairer
	client  *kube.Client
	told    []string
	reports []bool
}

func newWorld(t *testing.T, mode Mode) *world {
	t.Helper()
	w := &world{}
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.told = append(w.told, r.Method+" "+r.URL.Path+" "+string(body))
	}))
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	client, err := kube.New(kube.Access{Server: server.URL, CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	w.client = client
	w.Repairer = Repairer{
		Config: Config{
			Mode: mode, Node: "n1", InitContainer: "istio-validation", LabelKey: "cni.istio.io/uninitialized", LabelValue: "true",
			Proc: t.TempDir(), Plugin: plugin.Settings{NativeNftables: true},
		},
		Log:     slog.New(slog.DiscardHandler),
		Connect: func() (*kube.Client, error) { return client, nil },
		Report:  func(ok bool) { w.reports = append(w.reports, ok) },
	}
	return w
}

// process adds a process to the node's /proc: in a control group, and in the network
// namespace that the link leads to.
func (w *world) process(t *testing.T, pid int, group, namespace string) {
	t.Helper()
	dir := filepath.Join(w.Proc, strconv.Itoa(pid))
	if err := os.MkdirAll(filepath.Join(dir, "ns"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup"), []byte("0::"+group+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(namespace, filepath.Join(dir, "ns", "net")); err != nil {
		t.Fatal(err)
	}
}

func underscored() string { return strings.ReplaceAll(uid, "-", "_") }

// TestRepair: the rules are written into the namespace that has the pod's address, whatever
// else runs in the pod's control groups.
func TestRepair(t *testing.T) {
	for name, group := range map[string]string{
		"systemd":                              "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + underscored() + ".slice/cri-containerd-1.scope",
		"cgroupfs":                             "/kubepods/besteffort/pod" + uid + "/1",
		"from another control group namespace": "/../../kubepods-pod" + underscored() + ".slice/x",
	} {
		t.Run(name, func(t *testing.T) {
			lab := netlab.New(t, true)
			w := newWorld(t, Repair)
			w.process(t, 7, "/kubepods/besteffort/pod99999999-5a5c-4d8e-9d5e-111111111111/1", "/proc/self/ns/net")
			w.process(t, 20, group, fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(lab.Peer))) // of a program of the user's
			w.process(t, 30, group, fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(lab.Pod)))
			seen := attempts{}
			for range 2 {
				w.see(t.Context(), w.client, broken(nil), seen)
			}
			if diff := cmp.Diff([]bool{true}, w.reports); diff != "" {
				t.Errorf("reports (-want +got):\n%s", diff)
			}
			if len(w.told) != 1 || !strings.Contains(w.told[0], `"reason":"InterceptionRepaired"`) {
				t.Errorf("told the API server %q", w.told)
			}
			if got := leadsTo(t, lab); got != "proxy" {
				t.Errorf("a connection leads to %s", got)
			}
			// A further failure is a further attempt, and does no harm.
			w.see(t.Context(), w.client, broken(func(p *pod.Pod) { p.Status.InitContainerStatuses[0].RestartCount++ }), seen)
			if diff := cmp.Diff([]bool{true, true}, w.reports); diff != "" {
				t.Errorf("reports (-want +got):\n%s", diff)
			}
		})
	}
}

// leadsTo is where a connection of the pod's to the world ends up.
func leadsTo(t *testing.T, lab *netlab.Lab) string {
	t.Helper()
	var l net.Listener
	var said []byte
	err := netlab.In(lab.Pod, func() (err error) {
		l, err = net.Listen("tcp4", "0.0.0.0:15001")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	g.Go(func() error {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		_, err = conn.Write([]byte("proxy"))
		_ = conn.Close()
		return err
	})
	g.Go(func() error {
		defer l.Close()
		return netlab.In(lab.Pod, func() error {
			conn, err := net.DialTimeout("tcp4", netlab.Remote4+":80", 5*time.Second)
			if err != nil {
				return err
			}
			defer conn.Close()
			said, err = io.ReadAll(conn)
			return err
		})
	})
	if err := g.Wait(); err != nil {
		return err.Error()
	}
	return string(said)
}

// TestNotRepaired: where the namespace cannot be told for sure nothing is written.
func TestNotRepaired(t *testing.T) {
	lab := netlab.New(t, true)
	own, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	group := "/kubepods/pod" + uid + "/1"
	for name, tt := range map[string]struct {
		namespace string
		change    func(*pod.Pod)
		want      string
	}{
		"no process":      {"", nil, "none of its processes is there"},
		"node":            {fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(own)), nil, "is the node's"},
		"another address": {fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(lab.Peer)), nil, "does not have the pod's address 10.244.0.5"},
		"mistake": {fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(lab.Pod)), func(p *pod.Pod) {
			p.Metadata.Annotations["sidecar.istio.io/interceptionMode"] = "x"
		}, "is not an interception mode"},
		"none of its business": {fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(lab.Pod)), func(p *pod.Pod) {
			p.Spec.InitContainers = []pod.Container{{Name: "istio-init"}}
		}, "leaves the pod alone"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Repair)
			if tt.namespace != "" {
				w.process(t, 30, group, tt.namespace)
			}
			w.see(t.Context(), w.client, broken(tt.change), attempts{})
			if diff := cmp.Diff([]bool{false}, w.reports); diff != "" {
				t.Errorf("reports (-want +got):\n%s", diff)
			}
			if len(w.told) != 1 || !strings.Contains(w.told[0], "InterceptionNotRepaired") || !strings.Contains(w.told[0], tt.want) {
				t.Errorf("told the API server %q; want a warning with %q", w.told, tt.want)
			}
		})
	}
}

// TestOtherModes: what is told the API server, and of which pods.
func TestOtherModes(t *testing.T) {
	tests := []struct {
		name   string
		mode   Mode
		change func(*pod.Pod)
		want   string // prefix of what is told; "" for nothing
	}{
		{"delete", Delete, nil, "DELETE /api/v1/namespaces/shop/pods/web {"},
		{"delete what has failed for good", Delete, func(p *pod.Pod) { p.Status.Phase = "Failed" }, "DELETE "},
		{"label", Label, nil, `PATCH /api/v1/namespaces/shop/pods/web {"metadata":{"labels":{"cni.istio.io/uninitialized":"true"}`},
		{"labelled", Label, func(p *pod.Pod) { p.Metadata.Labels = map[string]string{"cni.istio.io/uninitialized": "true"} }, ""},
		{"off", Off, nil, ""},
		{"going", Delete, func(p *pod.Pod) { p.Metadata.DeletionTimestamp = "2026-01-02T03:04:05Z" }, ""},
		{"done", Delete, func(p *pod.Pod) { p.Status.Phase = "Succeeded" }, ""},
		{"not injected", Delete, func(p *pod.Pod) { p.Metadata.Annotations = nil }, ""},
		{"failed otherwise", Delete, func(p *pod.Pod) { p.Status.InitContainerStatuses[0].LastState.Terminated.ExitCode = 1 }, ""},
		{"no address yet", Repair, func(p *pod.Pod) { p.Status.PodIP = "" }, ""},
		{"nothing left to repair", Repair, func(p *pod.Pod) { p.Status.Phase = "Failed" }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.mode)
			w.see(t.Context(), w.client, broken(tt.change), attempts{})
			if got := strings.Join(w.told, "\n"); !strings.HasPrefix(got, tt.want) || (tt.want == "") != (got == "") {
				t.Errorf("told %q; want %q", got, tt.want)
			}
		})
	}
}
