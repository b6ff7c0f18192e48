package install

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/sluicemesh/sluice/initcontainer/cni/plugin"
)

const calico = "{\n  \"name\": \"k8s-pod-network\",\n  \"plugins\": [\n    {\n      \"type\": \"calico\"\n    }\n  ]\n}\n"

// node is a node's folders.
type node struct {
	Installer
	t *testing.T
}

func newNode(t *testing.T) node {
	t.Helper()
	root := t.TempDir()
	n := node{t: t, Installer: Installer{
		Config: Config{
			Program: filepath.Join(root, "sluice-cni"), BinDir: filepath.Join(root, "bin"), NetDir: filepath.Join(root, "net.d"),
			Kubeconfig: filepath.Join(root, "run", "kubeconfig"), AccountDir: filepath.Join(root, "account"),
			Server: "https://10.96.0.1:443", Plugin: plugin.Settings{LogLevel: "info"},
		},
		Log: slog.New(slog.DiscardHandler), Report: func(Result, error) {}, Ready: func(bool) {},
	}}
	for _, dir := range []string{n.BinDir, n.NetDir, filepath.Dir(n.Kubeconfig), n.AccountDir} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	n.write(n.Program, "program")
	n.write(filepath.Join(n.AccountDir, "token"), "token-1\n")
	n.write(filepath.Join(n.AccountDir, "ca.crt"), "ca")
	return n
}

func (n node) write(file, text string) {
	n.t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		n.t.Fatal(err)
	}
}

func (n node) conf(name, text string) { n.t.Helper(); n.write(filepath.Join(n.NetDir, name), text) }

// files returns what the folder of configurations holds.
func (n node) files() map[string]string {
	n.t.Helper()
	found := map[string]string{}
	entries, err := os.ReadDir(n.NetDir)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(n.NetDir, e.Name()))
		if err != nil {
			n.t.Fatal(err)
		}
		found[e.Name()] = string(text)
	}
	return found
}

func (n node) ensure() bool {
	n.t.Helper()
	changed, _, err := n.Ensure()
	if err != nil {
		n.t.Fatal(err)
	}
	return changed
}

// TestRemoveRestores: whatever the node has, after removal it has it again.
func TestRemoveRestores(t *testing.T) {
	single := `{"cniVersion": "0.3.1", "name": "net", "type": "bridge"}`
	tests := []struct {
		name   string
		change func(*Config)
		files  map[string]string
		target string // that has the entry meanwhile
	}{
		{name: "list", files: map[string]string{"10-calico.conflist": calico, "87-podman.conflist": calico}, target: "10-calico.conflist"},
		{name: "single", files: map[string]string{"10-net.conf": single, "20.conflist": calico}, target: "10-net.conflist"},
		{name: "json", files: map[string]string{"10-net.json": single}, target: "10-net.conflist"},
		{name: "broken first", files: map[string]string{"00.conflist": "{", "01.conf": "{}", "02.conflist": `{"plugins":[]}`, "10.conflist": calico}, target: "10.conflist"},
		{name: "named", change: func(c *Config) { c.ConfName = "20.conflist" }, files: map[string]string{"10.conflist": calico, "20.conflist": calico}, target: "20.conflist"},
		{name: "standalone", change: func(c *Config) { c.Standalone = true }, files: map[string]string{"10.conflist": calico}, target: "YYY-istio-cni.conf"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t)
			if tt.change != nil {
				tt.change(&n.Config)
			}
			for name, text := range tt.files {
				n.conf(name, text)
			}
			if !n.ensure() || n.ensure() {
				t.Error("the first look must change something, the second nothing")
			}
			for name, text := range n.files() {
				if got := strings.Contains(text, `"istio-cni"`); got != (name == tt.target) {
					t.Errorf("%s has the entry: %v\n%s", name, got, text)
				}
			}
			if err := n.Remove(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.files, n.files()); diff != "" {
				t.Errorf("after removal (-before +after):\n%s", diff)
			}
			for _, file := range []string{n.Kubeconfig, filepath.Join(n.BinDir, "istio-cni")} {
				if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s is still there: %v", file, err)
				}
			}
		})
	}
}

// TestFollowsTheFirst: the entry moves with the configuration that counts.
func TestFollowsTheFirst(t *testing.T) {
	n := newNode(t)
	n.conf("20.conflist", calico)
	n.ensure()
	n.conf("10.conflist", calico)
	if !n.ensure() {
		t.Error("a new first configuration was not seen")
	}
	files := n.files()
	if files["20.conflist"] != calico || !strings.Contains(files["10.conflist"], "istio-cni") {
		t.Errorf("the entry did not move: %v", files)
	}
}

// TestSingleWrittenAnew: what the network writes later counts more than what was put away.
func TestSingleWrittenAnew(t *testing.T) {
	n := newNode(t)
	n.conf("10.conf", `{"name": "old", "type": "bridge"}`)
	n.ensure()
	fresh := `{"name": "new", "type": "bridge"}`
	n.conf("10.conf", fresh)
	n.ensure()
	if files := n.files(); !strings.Contains(files["10.conflist"], `"new"`) {
		t.Errorf("the new configuration does not count: %v", files)
	}
	if err := n.Remove(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"10.conf": fresh}, n.files()); diff != "" {
		t.Errorf("after removal (-before +after):\n%s", diff)
	}
}

func TestKeepsMode(t *testing.T) {
	n := newNode(t)
	n.conf("10.conflist", calico)
	if err := os.Chmod(filepath.Join(n.NetDir, "10.conflist"), 0o640); err != nil {
		t.Fatal(err)
	}
	n.ensure()
	for file, want := range map[string]fs.FileMode{
		filepath.Join(n.NetDir, "10.conflist"): 0o640, n.Kubeconfig: 0o600, filepath.Join(n.BinDir, "istio-cni"): 0o755,
	} {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("mode of %s = %v, %v; want %v", file, info.Mode(), err, want)
		}
	}
}

func TestNoNetworkYet(t *testing.T) {
	n := newNode(t)
	if _, result, err := n.Ensure(); !errors.Is(err, ErrNoNetwork) || result != ConfFailed {
		t.Errorf("Ensure = %v, %v; want %v", result, err, ErrNoNetwork)
	}
}

// TestRun: what gets lost comes back, and a new token is passed on.
func TestRun(t *testing.T) {
	n := newNode(t)
	looks := make(chan bool, 100)
	n.Ready = func(ready bool) {
		select {
		case looks <- ready:
		default:
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var g errgroup.Group
	g.Go(func() error { return n.Run(ctx) })
	defer func() {
		cancel()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	}()
	until := func(what string, ok func() bool) {
		t.Helper()
		for limit := time.After(10 * time.Second); ; {
			select {
			case ready := <-looks:
				if ready && ok() {
					return
				}
			case <-limit:
				t.Fatalf("%s: not within 10s; %v", what, n.files())
			}
		}
	}
	if ready := <-looks; ready {
		t.Fatal("ready without a network")
	}
	has := func(file, text string) func() bool {
		return func() bool {
			found, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(found), text)
		}
	}
	file := filepath.Join(n.NetDir, "10.conflist")
	n.conf("10.conflist", calico)
	until("the network comes", has(file, "istio-cni"))
	n.conf("10.conflist", strings.ReplaceAll(calico, "calico", "flannel"))
	until("the network is written anew", func() bool { return has(file, "istio-cni")() && has(file, "flannel")() })
	if err := os.Remove(filepath.Join(n.BinDir, "istio-cni")); err != nil {
		t.Fatal(err)
	}
	until("the program is removed", has(filepath.Join(n.BinDir, "istio-cni"), "program"))
	n.write(filepath.Join(n.AccountDir, "token"), "token-2")
	until("the token is replaced", has(n.Kubeconfig, "token-2"))
}
