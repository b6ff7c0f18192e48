package nodeimage

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/e2e/cluster/cache"
	"github.com/sluicemesh/sluice/e2e/cluster/progress"
)

// The constants are what kubeadm and people are told; the module files are what is built.
func TestVersionsMatchModules(t *testing.T) {
	for _, c := range []struct{ folder, module, version string }{
		{"kubernetes", "k8s.io/kubernetes", Kubernetes},
		{"containerd", "github.com/containerd/containerd/v2", Containerd},
		{"etcd", "go.etcd.io/etcd/server/v3", Etcd},
		{"coredns", "github.com/coredns/coredns", CoreDNS},
	} {
		text, err := os.ReadFile(filepath.Join("..", "node", c.folder, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		pin := regexp.MustCompile(`(?m)^\s*(?:require )?` + regexp.QuoteMeta(c.module) + ` (\S+)`).FindSubmatch(text)
		if pin == nil || string(pin[1]) != c.version {
			t.Errorf("%s/go.mod pins %s at %q; the recipe says %s", c.folder, c.module, pin, c.version)
		}
	}
}

// Every library of Kubernetes must come from the same release as the programs.
func TestKubernetesReplacesAllOfItsLibraries(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "node", "kubernetes", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	want := "v0" + strings.TrimPrefix(Kubernetes, "v1")
	replaced := regexp.MustCompile(`(?m)^\s*(k8s\.io/[a-z-]+) => (\S+) (\S+)$`).FindAllStringSubmatch(string(text), -1)
	if len(replaced) != 33 {
		t.Errorf("%d libraries are replaced; want 33", len(replaced))
	}
	for _, r := range replaced {
		if r[1] != r[2] || r[3] != want {
			t.Errorf("%s is replaced by %s %s; want itself at %s", r[1], r[2], r[3], want)
		}
	}
}

func TestStamp(t *testing.T) {
	want := "-X k8s.io/component-base/version.gitVersion=v1.36.3 -X k8s.io/component-base/version.gitMajor=1 " +
		"-X k8s.io/component-base/version.gitMinor=36 -X k8s.io/component-base/version.gitTreeState=clean " +
		"-X k8s.io/client-go/pkg/version.gitVersion=v1.36.3 -X k8s.io/client-go/pkg/version.gitMajor=1 " +
		"-X k8s.io/client-go/pkg/version.gitMinor=36 -X k8s.io/client-go/pkg/version.gitTreeState=clean"
	if diff := cmp.Diff(want, stamp("v1.36.3")); diff != "" {
		t.Errorf("stamp (-want +got):\n%s", diff)
	}
}

// The entry of a program changes with its pins and with nothing else of the tree.
func TestEntryFollowsPins(t *testing.T) {
	module := t.TempDir()
	folder := filepath.Join(module, "e2e", "cluster", "node", "etcd")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	b := Builder{Store: cache.Store{Root: t.TempDir(), Out: progress.New(nil)}, Module: module}
	write := func(file, text string) {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key := func(p program) string {
		entry, err := b.entry(p)
		if err != nil {
			t.Fatal(err)
		}
		return entry.Key
	}
	p := program{module: "etcd"}
	if _, err := b.entry(p); err == nil {
		t.Error("entry without module file = nil error")
	}
	write("go.mod", "module a")
	write("go.sum", "a v1 h1:x")
	first := key(p)
	write("README", "words")
	if again := key(p); again != first {
		t.Error("the key changed with a file that is not an input")
	}
	write("go.sum", "a v2 h1:y")
	if again := key(p); again == first {
		t.Error("the key did not change with the pins")
	}
	if tagged := key(program{module: "etcd", tags: "x"}); tagged == key(p) {
		t.Error("the key did not change with the build tags")
	}
}

func TestComponents(t *testing.T) {
	built := compiled{"kubernetes": "/k", "etcd": "/e", "coredns": "/c"}
	want := []component{
		{image: "registry.k8s.io/kube-apiserver:v1.36.3", program: "/k/kube-apiserver", path: "usr/local/bin/kube-apiserver"},
		{
			image: "registry.k8s.io/kube-controller-manager:v1.36.3", program: "/k/kube-controller-manager",
			path: "usr/local/bin/kube-controller-manager",
		},
		{image: "registry.k8s.io/kube-scheduler:v1.36.3", program: "/k/kube-scheduler", path: "usr/local/bin/kube-scheduler"},
		{image: "registry.k8s.io/kube-proxy:v1.36.3", program: "/k/kube-proxy", path: "usr/local/bin/kube-proxy", base: "/iptables.tar"},
		{image: "registry.k8s.io/etcd:3.7.3-0", program: "/e/etcd", path: "usr/local/bin/etcd"},
		{image: "registry.k8s.io/coredns/coredns:v1.15.0", program: "/c/coredns", path: "coredns", entry: true},
		{image: "registry.k8s.io/pause:3.10", program: "/pause", path: "pause", entry: true},
	}
	if diff := cmp.Diff(want, components(built, "/pause", "/iptables.tar"), cmp.AllowUnexported(component{})); diff != "" {
		t.Errorf("components (-want +got):\n%s", diff)
	}
}
