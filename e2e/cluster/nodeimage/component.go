package nodeimage

import (
	"archive/tar"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// component is an image that kubeadm or containerd asks for by name: one program and what it stands on.
type component struct {
	image   string // reference, with the tag that is asked for
	program string // local file
	path    string // where it is in the image
	entry   bool   // whether the image runs it by itself; the others are started by name
	base    string // tar file of a layer below; empty means FROM scratch
}

// components lists the images of a node.
func components(built compiled, pause, iptables string) []component {
	registry := "registry.k8s.io/"
	var list []component
	for _, each := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"} {
		c := component{
			image:   registry + each + ":" + Kubernetes,
			program: filepath.Join(built["kubernetes"], each), path: "usr/local/bin/" + each,
		}
		if each == "kube-proxy" {
			c.base = iptables
		}
		list = append(list, c)
	}
	return append(
		list,
		component{image: registry + "etcd:" + EtcdTag, program: filepath.Join(built["etcd"], "etcd"), path: "usr/local/bin/etcd"},
		component{
			image: registry + "coredns/coredns:" + CoreDNSTag, program: filepath.Join(built["coredns"], "coredns"),
			path: "coredns", entry: true,
		},
		component{image: registry + "pause:" + Pause, program: pause, path: "pause", entry: true},
	)
}

// writeArchive stores the images in one archive that containerd imports.
func writeArchive(file, scratch string, list []component) error {
	images := map[name.Reference]v1.Image{}
	for _, c := range list {
		reference, err := name.NewTag(c.image)
		if err != nil {
			return fmt.Errorf("name image: %w", err)
		}
		images[reference], err = c.build(filepath.Join(scratch, path.Base(c.path)+".tar"))
		if err != nil {
			return fmt.Errorf("build image %s: %w", c.image, err)
		}
	}
	if err := tarball.MultiRefWriteToFile(file, images); err != nil {
		return fmt.Errorf("write image archive: %w", err)
	}
	return nil
}

// build makes the image; its own layer is kept in the file until the image has been written.
func (c component) build(layerFile string) (v1.Image, error) {
	if err := c.writeLayer(layerFile); err != nil {
		return nil, err
	}
	files := []string{layerFile}
	if c.base != "" {
		files = []string{c.base, layerFile}
	}
	config := v1.Config{Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}
	if c.entry {
		config.Entrypoint = []string{"/" + c.path}
	}
	return stack(config, files...)
}

// stack makes an image of layers, the lowest first. The files are read again when the image is written.
func stack(config v1.Config, files ...string) (v1.Image, error) {
	var layers []v1.Layer
	for _, file := range files {
		layer, err := newRawLayer(file)
		if err != nil {
			return nil, fmt.Errorf("read layer %s: %w", file, err)
		}
		layers = append(layers, layer)
	}
	image, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		return nil, fmt.Errorf("stack layers: %w", err)
	}
	whole, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read image configuration: %w", err)
	}
	whole = whole.DeepCopy()
	whole.OS, whole.Architecture, whole.Config = "linux", runtime.GOARCH, config
	return mutate.ConfigFile(image, whole)
}

func (c component) writeLayer(file string) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	w := tar.NewWriter(out)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}); err != nil {
		return err
	}
	if err := addFile(w, c.program, c.path, 0o755); err != nil {
		return err
	}
	return w.Close()
}
