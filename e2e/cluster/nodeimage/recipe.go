// Package nodeimage builds kind's node image from Go modules and Debian packages alone, for machines without an image registry.
//
// The programs are built from the pinned tool modules beside this package's parent (node/*/go.mod), the root file system comes
// from debootstrap, kind's own files from its Go module. It must not pull an image. A cache, a Docker engine and the module's
// directory come in; the name of an image in that engine, or a directory of programs, goes out.
package nodeimage

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/sluicemesh/sluice/e2e/cluster/cache"
	"github.com/sluicemesh/sluice/e2e/cluster/host"
)

// Versions of what the image holds. The Go module files hold the same, with hashes; a test compares them.
const (
	Kubernetes = "v1.36.3"
	Containerd = "v2.4.2"
	Etcd       = "v3.7.3"
	CoreDNS    = "v1.15.0"
	Pause      = "3.10" // the tag kind's containerd configuration asks for; the program is our own

	suite = "bookworm" // Debian release of the root file system
	// edition goes up when this package assembles the same inputs in another way.
	edition = "2"
)

// EtcdTag and CoreDNSTag are what kubeadm has to be told: it would ask for the versions it was released with.
const (
	EtcdTag    = "3.7.3-0"
	CoreDNSTag = CoreDNS
)

// packages of the root file system: what kind's Dockerfile installs, and the runtime and network plugins that it compiles.
func packages() []string {
	return []string{
		"systemd", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "util-linux", "mount", "kmod", "libseccomp2",
		"pigz", "e2fsprogs", "bash", "ca-certificates", "curl", "jq", "procps", "runc", "containernetworking-plugins", "socat",
		"ebtables",
	}
}

// program is a tool module and what is built from it.
type program struct {
	module  string            // folder below e2e/cluster/node
	title   string            // for people
	tags    string            // build tags
	ldflags string            // beside -s -w
	rename  map[string]string // go's name of a binary → the name it is installed under
}

func programs() []program {
	return []program{
		{module: "kubernetes", title: "Kubernetes " + Kubernetes, ldflags: stamp(Kubernetes)},
		{module: "containerd", title: "containerd " + Containerd, tags: "no_aufs,no_zfs,no_btrfs,no_devmapper"},
		{module: "etcd", title: "etcd " + Etcd, rename: map[string]string{"server": "etcd"}},
		{module: "coredns", title: "CoreDNS " + CoreDNS},
	}
}

// stamp writes the version into the programs: kubeadm and kubelet compare theirs, and an unstamped one calls itself v0.0.0.
func stamp(version string) string {
	parts := strings.Split(strings.TrimPrefix(version, "v"), ".")
	var flags []string
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags = append(flags,
			fmt.Sprintf("-X %s.gitVersion=%s", pkg, version), fmt.Sprintf("-X %s.gitMajor=%s", pkg, parts[0]),
			fmt.Sprintf("-X %s.gitMinor=%s", pkg, parts[1]), fmt.Sprintf("-X %s.gitTreeState=clean", pkg))
	}
	return strings.Join(flags, " ")
}

// Builder makes the image and its parts.
type Builder struct {
	Store    cache.Store
	Packages host.Packager
	Module   string // directory of this module
}

// folder is where a program's module file lies.
func (b Builder) folder(p program) string {
	return filepath.Join(b.Module, "e2e", "cluster", "node", p.module)
}

// entry is the cache entry of a program's binaries: it changes with the module's pins, the toolchain and the flags.
func (b Builder) entry(p program) (cache.Entry, error) {
	parts := []string{runtime.Version(), runtime.GOARCH, p.tags, p.ldflags, fmt.Sprint(p.rename)}
	for _, file := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(b.folder(p), file))
		if err != nil {
			return cache.Entry{}, fmt.Errorf("read pins of %s: %w", p.module, err)
		}
		parts = append(parts, string(text))
	}
	return cache.Entry{Name: p.module, Key: cache.Key(parts...), What: "build " + p.title}, nil
}
