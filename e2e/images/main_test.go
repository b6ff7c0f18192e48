package images_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/sluicemesh/sluice/e2e/images"
	"github.com/sluicemesh/sluice/e2e/images/debian"
)

// fixture is one build of all images, out of stand-in programs, that the tests of this package
// look at. It is made by the first test that asks.
type fixture struct {
	once sync.Once
	dir  string
	imgs map[string]images.Image
	err  error
}

var built fixture

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// image returns the fixture's image of that name.
func image(t *testing.T, name string) images.Image {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "images-test-*"); built.err != nil {
			return
		}
		var all []images.Image
		all, built.err = build(t.Context(), built.dir, images.Config{Progress: os.Stderr})
		built.imgs = map[string]images.Image{}
		for _, img := range all {
			built.imgs[img.Name] = img
		}
	})
	needsDebian(t, built.err)
	img, ok := built.imgs[name]
	if !ok {
		t.Fatalf("no image %q was built", name)
	}
	return img
}

// needsDebian ends the test: with a word when err is that the host is no Debian, else as failed.
func needsDebian(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, debian.ErrNoApt) {
		t.Skipf("images cannot be built on this host: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// build runs images.Build with a module of stand-ins and a cache below dir, both made when
// missing. Only downloads are shared with the user's cache: they are checked when used.
func build(ctx context.Context, dir string, cfg images.Config) ([]images.Image, error) {
	cfg.Root, cfg.Cache = filepath.Join(dir, "module"), filepath.Join(dir, "cache")
	user, err := images.DefaultCache()
	if err != nil {
		return nil, err
	}
	for _, shared := range []string{filepath.Join("images", "downloads"), "envoy"} {
		if err := share(filepath.Join(user, shared), filepath.Join(cfg.Cache, shared)); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(cfg.Root); errors.Is(err, os.ErrNotExist) {
		if err := writeModule(cfg.Root); err != nil {
			return nil, err
		}
	}
	return images.Build(ctx, cfg)
}

// share makes a directory of the user's cache appear in another one.
func share(from, to string) error {
	for _, made := range []string{from, filepath.Dir(to)} {
		if err := os.MkdirAll(made, 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink(from, to); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// writeModule writes a module whose programs stand in for ours.
func writeModule(root string) error {
	files := map[string]string{
		"go.mod":                      "module github.com/sluicemesh/sluice\n\ngo 1.26\n",
		"internal/version/version.go": "package version\n\nvar Version string\n",
	}
	for _, dir := range []string{"cmd/sluiced", "cmd/sluice-agent", "cmd/sluice-init", "cmd/sluice-cni", "samples/httpbin", "samples/demoapp"} {
		files[dir+"/main.go"] = program(dir)
	}
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func program(says string) string {
	return fmt.Sprintf("package main\n\nimport \"github.com/sluicemesh/sluice/internal/version\"\n\nfunc main() { println(%q, version.Version) }\n", says)
}

// open reads an archive the way docker does.
func open(t *testing.T, img images.Image) v1.Image {
	t.Helper()
	opened, err := tarball.ImageFromPath(img.Archive, nil)
	if err != nil {
		t.Fatalf("open %s: %v", img.Archive, err)
	}
	return opened
}

// eachEntry calls fn for every entry of every layer of img, lowest layer first.
func eachEntry(t *testing.T, img images.Image, fn func(*tar.Header, []byte)) {
	t.Helper()
	layers, err := open(t, img).Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		stream, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		in := tar.NewReader(stream)
		for {
			h, err := in.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("read a layer of %s: %v", img.Name, err)
			}
			var body bytes.Buffer
			if _, err := io.Copy(&body, in); err != nil {
				t.Fatal(err)
			}
			fn(h, body.Bytes())
		}
		if err := stream.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// unpack writes the file system of img to a new directory, as root with its owners.
func unpack(t *testing.T, img images.Image) string {
	t.Helper()
	root := t.TempDir()
	eachEntry(t, img, func(h *tar.Header, body []byte) {
		// Every layer spells paths through /usr, never through the links above it.
		at := filepath.Join(root, filepath.FromSlash(h.Name))
		var err error
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(at, 0o755)
		case tar.TypeSymlink:
			err = os.Symlink(h.Linkname, at)
		default:
			err = os.WriteFile(at, body, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Lchown(at, h.Uid, h.Gid); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeSymlink {
			if err := os.Chmod(at, h.FileInfo().Mode()); err != nil {
				t.Fatal(err)
			}
		}
	})
	return root
}

// lines splits what a build reported.
func lines(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }
