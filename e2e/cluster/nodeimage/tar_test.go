package nodeimage

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// tree makes files below a directory; a value "-> x" makes a symbolic link.
func tree(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for file, text := range files {
		local := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(local), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(text, "-> "); link {
			err = os.Symlink(target, local)
		} else {
			err = os.WriteFile(local, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// listing describes the entries of a tar file, one a line, in order.
func listing(t *testing.T, file string) []string {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var lines []string
	for r := tar.NewReader(in); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%s %o", header.Name, header.Mode)
		if header.Typeflag == tar.TypeSymlink {
			line = header.Name + " -> " + header.Linkname
		}
		lines = append(lines, line)
	}
}

func TestIptablesLayer(t *testing.T) {
	root := t.TempDir()
	files := map[string]string{
		"usr/sbin/xtables-nft-multi":                    "program",
		"usr/lib/x86_64-linux-gnu/xtables/libxt_tcp.so": "plugin",
		"usr/lib/x86_64-linux-gnu/xtables/libxt_udp.so": "-> libxt_tcp.so",
		"usr/lib/x86_64-linux-gnu/libunused.so":         "library",
	}
	for _, each := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			files["usr/sbin/"+each+"-nft"+suffix] = "-> /usr/sbin/xtables-nft-multi"
		}
	}
	tree(t, root, files)
	out := filepath.Join(t.TempDir(), "layer.tar")
	if err := iptablesLayer(root, out); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"bin -> usr/bin", "lib -> usr/lib", "lib64 -> usr/lib64", "sbin -> usr/sbin",
		"usr/lib/x86_64-linux-gnu/xtables/libxt_udp.so -> libxt_tcp.so",
		"usr/sbin/ip6tables -> ip6tables-nft", "usr/sbin/ip6tables-nft -> /usr/sbin/xtables-nft-multi",
		"usr/sbin/ip6tables-nft-restore -> /usr/sbin/xtables-nft-multi", "usr/sbin/ip6tables-nft-save -> /usr/sbin/xtables-nft-multi",
		"usr/sbin/ip6tables-restore -> ip6tables-nft-restore", "usr/sbin/ip6tables-save -> ip6tables-nft-save",
		"usr/sbin/iptables -> iptables-nft", "usr/sbin/iptables-nft -> /usr/sbin/xtables-nft-multi",
		"usr/sbin/iptables-nft-restore -> /usr/sbin/xtables-nft-multi", "usr/sbin/iptables-nft-save -> /usr/sbin/xtables-nft-multi",
		"usr/sbin/iptables-restore -> iptables-nft-restore", "usr/sbin/iptables-save -> iptables-nft-save",
		"usr/lib/x86_64-linux-gnu/xtables/libxt_tcp.so 755", "usr/sbin/xtables-nft-multi 755",
	}
	if diff := cmp.Diff(want, listing(t, out)); diff != "" {
		t.Errorf("layer (-want +got):\n%s", diff)
	}
}

func TestIptablesLayerNeedsPlugins(t *testing.T) {
	if err := iptablesLayer(t.TempDir(), filepath.Join(t.TempDir(), "x")); err == nil {
		t.Error("a layer was made from an empty root file system")
	}
}

// The go tool is a program with a loader or without, but this test's own binary is one that the closure can read.
func TestNeedsReadsPrograms(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := needs(self); err != nil {
		t.Errorf("needs of a program = %v", err)
	}
	text := filepath.Join(t.TempDir(), "text")
	tree(t, filepath.Dir(text), map[string]string{"text": "#!/bin/sh\n"})
	if got, err := needs(text); err != nil || got != nil {
		t.Errorf("needs of a script = %v, %v; want none", got, err)
	}
}

func TestWriteRoot(t *testing.T) {
	dir := t.TempDir()
	tree(t, dir, map[string]string{
		"debian/etc/hostname":                     "node",
		"kind/usr/local/bin/entrypoint":           "#!/bin/bash",
		"kind/kind/bin/hook.sh":                   "#!/bin/bash",
		"kind/etc/systemd/system/kubelet.service": "[Unit]",
		"built/kubeadm":                           "a", "built/kubelet": "b", "built/kubectl": "c", "built/containerd": "d", "built/containerd-shim-runc-v2": "e", "built/ctr": "f",
	})
	debian := filepath.Join(dir, "debian.tar")
	out, err := os.Create(debian)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(out)
	if err := addFile(w, filepath.Join(dir, "debian/etc/hostname"), "./etc/hostname", 0o644); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), out.Close()); err != nil {
		t.Fatal(err)
	}
	built := filepath.Join(dir, "built")
	root := filepath.Join(dir, "root.tar")
	if err := writeRoot(root, debian, filepath.Join(dir, "kind"), compiled{"kubernetes": built, "containerd": built}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"./etc/hostname 644", "etc/systemd/system/kubelet.service 644", "kind/bin/hook.sh 755", "usr/local/bin/entrypoint 755",
		"usr/bin/kubeadm 755", "usr/bin/kubelet 755", "usr/bin/kubectl 755", "usr/local/bin/containerd 755",
		"usr/local/bin/containerd-shim-runc-v2 755", "usr/local/bin/ctr 755",
		"etc/systemd/journald.conf.d/10-kind.conf 644", "kind/manifests/default-cni.yaml 644",
		"kind/manifests/default-storage.yaml 644", "kind/version 644",
		"usr/sbin/init -> /lib/systemd/systemd",
		"etc/systemd/system/multi-user.target.wants/kubelet.service -> /etc/systemd/system/kubelet.service",
		"etc/systemd/system/multi-user.target.wants/containerd.service -> /etc/systemd/system/containerd.service",
		"etc/systemd/system/multi-user.target.wants/undo-mount-hacks.service -> /etc/systemd/system/undo-mount-hacks.service",
		"etc/systemd/system/systemd-binfmt.service -> /dev/null",
	}
	if diff := cmp.Diff(want, listing(t, root)); diff != "" {
		t.Errorf("root (-want +got):\n%s", diff)
	}
}

// What is written must be what another reader of image archives sees, with the layers as they were given.
func TestArchive(t *testing.T) {
	dir := t.TempDir()
	tree(t, dir, map[string]string{"pause": "program"})
	list := []component{{image: "registry.k8s.io/pause:3.10", program: filepath.Join(dir, "pause"), path: "pause", entry: true}}
	file := filepath.Join(dir, "images.tar")
	if err := writeArchive(file, dir, list); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("registry.k8s.io/pause:3.10")
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(file, &tag)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/pause"}, config.Config.Entrypoint); diff != "" || config.OS != "linux" {
		t.Errorf("os %q, entry point (-want +got):\n%s", config.OS, diff)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v; want 1", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(content)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(dir, "pause.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(got, want) {
		t.Error("the layer is not the file it was made from")
	}
}
