package nodeimage

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// storage is applied by kind to every new cluster. The provisioner kind ships with needs an image that cannot be built from
// Go modules, so the class only binds volumes that exist.
const storage = `apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: standard
  annotations:
    storageclass.kubernetes.io/is-default-class: "true"
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
`

// network must exist for kind to take the image; it holds nothing because pod networking is set up after creation.
const network = "# pod networking is configured on the nodes by whoever made this cluster\n"

// texts are the files written by hand, by name.
func texts() map[string]string {
	return map[string]string{
		"kind/version":                             Kubernetes + "\n",
		"kind/manifests/default-cni.yaml":          network,
		"kind/manifests/default-storage.yaml":      storage,
		"etc/systemd/journald.conf.d/10-kind.conf": "[Journal]\nReadKMsg=no\n",
	}
}

// links are the services switched on and off, and the program systemd is started as.
func links() [][2]string {
	wants := "etc/systemd/system/multi-user.target.wants/"
	return [][2]string{
		{"usr/sbin/init", "/lib/systemd/systemd"},
		{wants + "kubelet.service", "/etc/systemd/system/kubelet.service"},
		{wants + "containerd.service", "/etc/systemd/system/containerd.service"},
		{wants + "undo-mount-hacks.service", "/etc/systemd/system/undo-mount-hacks.service"},
		// It would register interpreters with the host's kernel.
		{"etc/systemd/system/systemd-binfmt.service", "/dev/null"},
	}
}

// writeRoot writes the node's root file system to a tar file: Debian's, then kind's files, the programs and our texts. A
// later entry of a name replaces an earlier one.
func writeRoot(file, debian, kindFiles string, built compiled) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	w := tar.NewWriter(out)
	if err := copyTar(w, debian); err != nil {
		return fmt.Errorf("copy root file system: %w", err)
	}
	if err := addTree(w, kindFiles); err != nil {
		return fmt.Errorf("add kind's files: %w", err)
	}
	for _, each := range [][3]string{
		{"kubernetes", "kubeadm", "usr/bin"}, {"kubernetes", "kubelet", "usr/bin"}, {"kubernetes", "kubectl", "usr/bin"},
		{"containerd", "containerd", "usr/local/bin"}, {"containerd", "containerd-shim-runc-v2", "usr/local/bin"},
		{"containerd", "ctr", "usr/local/bin"},
	} {
		if err := addFile(w, filepath.Join(built[each[0]], each[1]), path.Join(each[2], each[1]), 0o755); err != nil {
			return fmt.Errorf("add %s: %w", each[1], err)
		}
	}
	written := texts()
	for _, name := range slices.Sorted(maps.Keys(written)) {
		text := written[name]
		header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	for _, link := range links() {
		header := &tar.Header{Typeflag: tar.TypeSymlink, Name: link[0], Linkname: link[1], Mode: 0o777}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
	}
	return w.Close()
}

func copyTar(w *tar.Writer, file string) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	r := tar.NewReader(in)
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(w, r); err != nil {
			return err
		}
	}
}

// addTree adds kind's files as its Dockerfile does: programs 0755, everything else 0644.
func addTree(w *tar.Writer, root string) error {
	return filepath.WalkDir(root, func(local string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(root, local)
		if err != nil {
			return err
		}
		name, mode := filepath.ToSlash(relative), int64(0o644)
		if strings.HasPrefix(name, "usr/local/bin/") || strings.HasPrefix(name, "kind/bin/") {
			mode = 0o755
		}
		return addFile(w, local, name, mode)
	})
}
