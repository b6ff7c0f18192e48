package nodeimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sync/errgroup"

	"github.com/sluicemesh/sluice/e2e/cluster/cache"
	"github.com/sluicemesh/sluice/e2e/cluster/proc"
)

// repository is the name of our node images in the Docker engine.
const repository = "sluice-node"

// preload is run in a container of the root file system, with the image archive on standard input. It finishes what needs
// the programs of the image itself, as kind's Dockerfile does, and puts the images into containerd's store. They are not
// unpacked: that would double what kind copies to a volume for every node.
const preload = `set -eu
mkdir -p /opt/cni/bin /etc/kubernetes/manifests
ln -s /usr/lib/cni/* /opt/cni/bin/
ctr oci spec | jq '.hooks.createContainer += [{"path": "/kind/bin/mount-product-files.sh"}] | del(.process.rlimits)' \
  > /etc/containerd/cri-base.json
containerd --log-level warn &
tries=0
until ctr version >/dev/null 2>&1; do
  tries=$((tries+1)); [ $tries -lt 300 ] || { echo "containerd does not answer" >&2; exit 1; }
  sleep 0.1
done
ctr -n k8s.io images import --all-platforms --no-unpack -
kill %1
wait || true
`

// Build returns the name of the node image in the Docker engine that DOCKER_HOST names, building what is missing.
func (b Builder) Build(ctx context.Context) (string, error) {
	kindDir, kindVersion, err := b.kindModule(ctx)
	if err != nil {
		return "", err
	}
	key, err := b.key(kindVersion)
	if err != nil {
		return "", err
	}
	image := repository + ":" + Kubernetes + "-" + key
	if present(ctx, image) {
		return image, nil
	}
	unlock, err := b.Store.Lock(ctx, "node-image")
	if err != nil {
		return "", err
	}
	defer unlock()
	if present(ctx, image) {
		return image, nil
	}
	parts, err := b.parts(ctx)
	if err != nil {
		return "", err
	}
	parts.kindFiles = filepath.Join(kindDir, "images", "base", "files")
	err = b.Store.Out.Step(ctx, "put together node image "+image, func(ctx context.Context) error {
		return b.assemble(ctx, image, parts)
	})
	if err != nil {
		return "", fmt.Errorf("build node image: %w", err)
	}
	return image, b.prune(ctx, image)
}

// prune removes node images of earlier recipes that no cluster uses: each takes most of a gigabyte.
func (b Builder) prune(ctx context.Context, keep string) error {
	list, err := proc.Output(ctx, "docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", repository)
	if err != nil {
		return fmt.Errorf("list node images: %w", err)
	}
	for _, image := range strings.Fields(list) {
		if image == keep {
			continue
		}
		if _, err := proc.Output(ctx, "docker", "rmi", image); err != nil {
			b.Store.Out.Say("  %s stays: a cluster uses it", image)
		}
	}
	return nil
}

// parts are the inputs of the image.
type parts struct {
	built     compiled
	debian    string // directory of the Debian cache entry
	pause     string // program
	kindFiles string // directory
}

// parts builds what is not in the cache: Debian beside the programs, because one mostly waits for the network.
func (b Builder) parts(ctx context.Context) (parts, error) {
	var p parts
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		p.debian, err = b.debian(ctx)
		return err
	})
	group.Go(func() (err error) {
		if p.built, err = b.compile(ctx); err != nil {
			return err
		}
		p.pause, err = b.pause(ctx)
		return err
	})
	return p, group.Wait()
}

// pause builds the program of the image of that name from this module.
func (b Builder) pause(ctx context.Context) (string, error) {
	source := filepath.Join("e2e", "cluster", "cmd", "pause")
	text, err := os.ReadFile(filepath.Join(b.Module, source, "main.go"))
	if err != nil {
		return "", fmt.Errorf("read pause: %w", err)
	}
	entry := cache.Entry{Name: "pause", Key: cache.Key(string(text), runtime.Version(), runtime.GOARCH), What: "build pause"}
	dir, err := b.Store.Ensure(ctx, entry, func(ctx context.Context, dir string) error {
		return proc.Run(ctx, proc.Command{
			Args: []string{
				"go", "build", "-C", b.Module, "-trimpath", "-buildvcs=false", "-ldflags", "-s -w",
				"-o", filepath.Join(dir, "pause"), "./" + filepath.ToSlash(source),
			},
			Env: []string{"CGO_ENABLED=0", "GOOS=linux", "GOFLAGS="},
		})
	})
	return filepath.Join(dir, "pause"), err
}

// kindModule finds the source of kind at the version this module pins.
func (b Builder) kindModule(ctx context.Context) (dir, version string, err error) {
	var out strings.Builder
	err = proc.Run(ctx, proc.Command{
		Args: []string{"go", "mod", "download", "sigs.k8s.io/kind"}, Dir: b.Module,
	})
	if err == nil {
		args := []string{"go", "list", "-m", "-f", "{{.Dir}} {{.Version}}", "sigs.k8s.io/kind"}
		err = proc.Run(ctx, proc.Command{Args: args, Dir: b.Module, Out: &out})
	}
	if err != nil {
		return "", "", fmt.Errorf("find kind's source: %w", err)
	}
	said := strings.TrimSpace(out.String())
	space := strings.LastIndex(said, " ") // the directory may hold spaces, a version cannot
	if space < 0 {
		return "", "", fmt.Errorf("find kind's source: go list said %q", said)
	}
	return said[:space], said[space+1:], nil
}

// key hashes everything the image is made of.
func (b Builder) key(kindVersion string) (string, error) {
	all := []string{edition, kindVersion, debianEntry().Key, preload, fmt.Sprint(texts()), fmt.Sprint(links())}
	for _, p := range programs() {
		entry, err := b.entry(p)
		if err != nil {
			return "", err
		}
		all = append(all, entry.Key)
	}
	return cache.Key(all...), nil
}

func present(ctx context.Context, image string) bool {
	_, err := proc.Output(ctx, "docker", "image", "inspect", "--format", "{{.Id}}", image)
	return err == nil
}

// assemble makes the image. The names of its scratch directory, intermediate image and container are fixed, and the caller holds
// the lock, so what an interrupted run left is taken away first.
func (b Builder) assemble(ctx context.Context, image string, p parts) error {
	scratch := filepath.Join(b.Store.Root, "node-image")
	if err := cache.Remove(scratch); err != nil {
		return fmt.Errorf("clear scratch directory: %w", err)
	}
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return fmt.Errorf("make scratch directory: %w", err)
	}
	defer os.RemoveAll(scratch)
	base, container := repository+"-base:building", repository+"-building"
	// Not there is the normal case; any other trouble shows when the name is used.
	_, _ = proc.Output(ctx, "docker", "rm", "--force", "--volumes", container)
	if err := importRoot(ctx, base, scratch, p); err != nil {
		return err
	}
	archive := filepath.Join(scratch, "images.tar")
	list := components(p.built, p.pause, filepath.Join(p.debian, iptablesTar))
	if err := writeArchive(archive, scratch, list); err != nil {
		return err
	}
	images, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("open image archive: %w", err)
	}
	defer images.Close()
	err = proc.Run(ctx, proc.Command{Stdin: images, Args: []string{
		"docker", "run", "--interactive", "--name", container, "--privileged", "--network", "none", "--tmpfs", "/run", "--tmpfs", "/tmp",
		"--entrypoint", "/bin/bash", base, "-c", preload,
	}})
	if err != nil {
		return fmt.Errorf("preload images: %w", err)
	}
	entry := `ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]`
	for _, args := range [][]string{
		{"docker", "commit", "--change", entry, "--change", "CMD []", container, image},
		{"docker", "rm", "--force", "--volumes", container},
		{"docker", "rmi", base}, // takes the name away; the layer stays, as the image's parent
	} {
		if _, err := proc.Output(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// importRoot puts the root file system into the engine as a base image. Environment and stop signal are set here: a commit
// cannot set the latter, and the container made from this image hands it on.
func importRoot(ctx context.Context, base, scratch string, p parts) error {
	layer := filepath.Join(scratch, "root.tar")
	if err := writeRoot(layer, filepath.Join(p.debian, rootTar), p.kindFiles, p.built); err != nil {
		return fmt.Errorf("write root file system: %w", err)
	}
	reference, err := name.NewTag(base)
	if err != nil {
		return fmt.Errorf("name base image: %w", err)
	}
	image, err := stack(v1.Config{Env: []string{"container=docker"}, StopSignal: "SIGRTMIN+3"}, layer)
	if err != nil {
		return fmt.Errorf("build base image: %w", err)
	}
	archive := filepath.Join(scratch, "base.tar")
	if err := tarball.WriteToFile(archive, reference, image); err != nil {
		return fmt.Errorf("write base image: %w", err)
	}
	_, err = proc.Output(ctx, "docker", "load", "--quiet", "--input", archive)
	return err
}
