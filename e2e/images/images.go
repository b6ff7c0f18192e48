// Package images builds the container images of the mesh and of its samples as OCI archives,
// without a container runtime.
//
// What goes in: main packages of this module, Envoy from the Python registry, packages of the
// host's Debian. What comes out: one archive an image in the cache, that containerd and Docker
// load. Same inputs give the same digest, and nothing is built whose inputs did not change. It
// must not install or change anything on the host outside its cache, pip excepted (see package
// envoy), and it starts, loads and pushes nothing: clusters are another package's business.
package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	// Hub is the registry path of every reference.
	Hub = "ghcr.io/sluicemesh"
	// SampleTag is the tag of the sample images; the manifests under samples/ name it.
	SampleTag = "1.0"
)

// Config says what to build and where things are. The zero value builds everything from the
// module in the working directory into the user's cache.
type Config struct {
	// Root is the module's directory; empty means the working directory.
	Root string
	// Cache is the directory that holds our images/ folder; empty means [DefaultCache].
	Cache string
	// Only lists the names of the images to write; empty means all of [Names].
	Only []string
	// Tag replaces the content tag of the mesh's images.
	Tag string
	// Version is stamped into the programs as internal/version.Version; empty means "dev". It takes part
	// in the content, so a value that changes with each commit rolls every Deployment.
	Version string
	// Progress is told of each step that took time, a line each; nil means silence.
	Progress io.Writer
}

// Image is one archive that [Build] wrote or found unchanged.
type Image struct {
	// Name is one of [Names].
	Name string
	// Ref is the reference that the archive carries, for example "ghcr.io/sluicemesh/pilot:dev-0123456789ab".
	Ref string
	// Archive is the absolute path of the archive: an OCI image layout that "docker load" reads too.
	Archive string
	// Digest is that of the image's manifest, "sha256:…": what containerd shows for Ref once it
	// is loaded. Equal digests are equal images.
	Digest string
	// Size is that of the archive in bytes.
	Size int64
}

// Names returns the names of all images, in the order in which they are built.
func Names() []string {
	var names []string
	for _, r := range recipes() {
		names = append(names, r.name)
	}
	return names
}

// DefaultCache is $SLUICE_CACHE, or else the folder sluice in the user's cache directory.
func DefaultCache() (string, error) {
	if dir := os.Getenv("SLUICE_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory (SLUICE_CACHE sets it): %w", err)
	}
	return filepath.Join(dir, "sluice"), nil
}

// Build brings the archives of cfg.Only up to date and returns one Image for each, in the order
// of [Names]. pilot and proxyv2 share one tag, made of the content of both, so both are
// computed when either is asked for. One Build works in a cache at a time; others wait.
func Build(ctx context.Context, cfg Config) ([]Image, error) {
	var built []Image
	err := withBuilder(ctx, cfg, func(b *builder) error {
		images, tag, err := b.images(ctx)
		if err != nil {
			return err
		}
		for _, r := range recipes() {
			img, ok := images[r.name]
			if !ok || !b.wanted(r.name) {
				continue
			}
			ref := Hub + "/" + r.name + ":" + SampleTag
			if r.mesh {
				ref = Hub + "/" + r.name + ":" + tag
			}
			image, err := b.archive(r.name, ref, img)
			if err != nil {
				return fmt.Errorf("write image %s: %w", r.name, err)
			}
			built = append(built, image)
		}
		return nil
	})
	return built, err
}

// Tag returns the tag that [Build] gives pilot and proxyv2. It builds what the tag depends on
// and writes no archive.
func Tag(ctx context.Context, cfg Config) (string, error) {
	if cfg.Tag != "" {
		return cfg.Tag, nil
	}
	cfg.Only = []string{"pilot"}
	var tag string
	err := withBuilder(ctx, cfg, func(b *builder) (err error) {
		_, tag, err = b.images(ctx)
		return err
	})
	return tag, err
}

// withBuilder checks cfg, fills its gaps and runs fn while it holds the cache.
func withBuilder(ctx context.Context, cfg Config, fn func(*builder) error) error {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return fmt.Errorf("images are built on linux/amd64, not on %s/%s: "+
			"build the files of e2e/images/dockerfiles with docker", runtime.GOOS, runtime.GOARCH)
	}
	for _, name := range cfg.Only {
		if !slices.Contains(Names(), name) {
			return fmt.Errorf("no image %q: there are %s", name, strings.Join(Names(), ", "))
		}
	}
	if cfg.Version == "" {
		cfg.Version = "dev"
	}
	if cfg.Progress == nil {
		cfg.Progress = io.Discard
	}
	cache := cfg.Cache
	if cache == "" {
		dir, err := DefaultCache()
		if err != nil {
			return err
		}
		cache = dir
	}
	root, err := filepath.Abs(cfg.Root)
	if err != nil {
		return err
	}
	cfg.Root = root
	if cfg.Cache, err = filepath.Abs(filepath.Join(cache, "images")); err != nil {
		return err
	}
	unlock, err := lock(ctx, cfg.Cache, cfg.Progress)
	if err != nil {
		return err
	}
	if err := sweep(cfg.Cache); err != nil {
		return errors.Join(err, unlock())
	}
	return errors.Join(fn(&builder{Config: cfg}), unlock())
}

// builder is one run of Build: its settings, and what the run has found out so far.
type builder struct {
	Config // Cache is the images folder; no field is empty but Only and Tag

	host     *hostFiles        // what came from the registries, nil before it is asked for
	programs map[string]string // hash of each program built, by its name
}

func (b *builder) wanted(name string) bool {
	return len(b.Only) == 0 || slices.Contains(b.Only, name)
}

// images makes the wanted images, and the whole set of the mesh if it has a wanted one, from
// cached layers, and returns them by name with the tag of the set.
func (b *builder) images(ctx context.Context) (map[string]v1.Image, string, error) {
	var selected []recipe
	mesh := slices.ContainsFunc(recipes(), func(r recipe) bool { return r.mesh && b.wanted(r.name) })
	for _, r := range recipes() {
		if b.wanted(r.name) || mesh && r.mesh {
			selected = append(selected, r)
		}
	}
	if err := b.compile(ctx, selected); err != nil {
		return nil, "", err
	}
	made := map[string]v1.Image{}
	content := sha256.New()
	for _, r := range selected {
		img, err := b.image(ctx, r)
		if err != nil {
			return nil, "", fmt.Errorf("build image %s: %w", r.name, err)
		}
		made[r.name] = img
		digest, err := img.Digest()
		if err != nil {
			return nil, "", fmt.Errorf("build image %s: %w", r.name, err)
		}
		if r.mesh {
			fmt.Fprintln(content, r.name, digest)
		}
	}
	if b.Tag != "" {
		return made, b.Tag, nil
	}
	return made, "dev-" + hex.EncodeToString(content.Sum(nil)[:6]), nil
}

// say reports one step.
func (b *builder) say(format string, args ...any) {
	fmt.Fprintf(b.Progress, "images: "+format+"\n", args...)
}

// took is the time since start as progress lines show it.
func took(start time.Time) time.Duration { return time.Since(start).Round(100 * time.Millisecond) }
