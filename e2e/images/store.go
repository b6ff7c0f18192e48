package images

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/e2e/images/rootfs"
)

// keep is how many files of one name the cache holds; the least recently used go first.
const keep = 8

// source is what decides on the content of a layer beside its inputs: a change of the builder
// is a change of what it builds.
//
//go:embed *.go rootfs/*.go debian/*.go
var source embed.FS

// sourceHash is one hash over source, tests excepted.
func sourceHash() (string, error) {
	sum := sha256.New()
	err := fs.WalkDir(source, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(name, "_test.go") {
			return err
		}
		data, err := source.ReadFile(name)
		fmt.Fprintf(sum, "%s %d\n%s", name, len(data), data)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

// stored is a layer in the cache. It implements [v1.Layer]; its hashes were computed when it
// was written, so that using it again reads nothing.
type stored struct {
	path string
	meta meta
}

// meta is kept beside a stored layer.
type meta struct {
	DigestHash v1.Hash `json:"digest"`
	DiffIDHash v1.Hash `json:"diffID"`
	Bytes      int64   `json:"size"`
}

// Digest returns the hash of the compressed layer.
func (s stored) Digest() (v1.Hash, error) { return s.meta.DigestHash, nil }

// DiffID returns the hash of the uncompressed layer.
func (s stored) DiffID() (v1.Hash, error) { return s.meta.DiffIDHash, nil }

// Size returns the size of the compressed layer in bytes.
func (s stored) Size() (int64, error) { return s.meta.Bytes, nil }

// MediaType returns that of a gzipped OCI layer.
func (s stored) MediaType() (types.MediaType, error) { return types.OCILayer, nil }

// Compressed opens the layer as it is stored; the caller closes it.
func (s stored) Compressed() (io.ReadCloser, error) { return os.Open(s.path) }

// Uncompressed opens the layer as a tar stream; the caller closes it.
func (s stored) Uncompressed() (io.ReadCloser, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	in, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{in, f}, nil
}

// layer returns l from the cache, building it when its inputs are new.
func (b *builder) layer(ctx context.Context, l layer) (v1.Layer, error) {
	inputs, err := l.inputs(ctx)
	if err != nil {
		return nil, err
	}
	code, err := sourceHash()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %q", code, l.name, inputs))
	dir := filepath.Join(b.Cache, "layers")
	s := stored{path: filepath.Join(dir, l.name+"-"+hex.EncodeToString(sum[:8])+".tar.gz")}
	data, err := os.ReadFile(s.path + ".json")
	if err == nil && json.Unmarshal(data, &s.meta) == nil && touch(s.path, s.path+".json") == nil {
		return s, nil
	}
	start := time.Now()
	tree, err := l.build(ctx)
	if err != nil {
		return nil, err
	}
	if s.meta, err = writeLayer(s.path, tree); err != nil {
		return nil, err
	}
	b.say("layer %s, %.1f MB, %s", l.name, megabytes(s.meta.Bytes), took(start))
	return s, errors.Join(prune(dir, l.name+"-*.tar.gz"), prune(dir, l.name+"-*.json"))
}

// writeLayer writes tree to path, compressed, and its meta beside it. The meta is written last:
// where it is, the layer is whole.
func writeLayer(path string, tree *rootfs.Tree) (meta, error) {
	diff, digest := sha256.New(), sha256.New()
	var m meta
	err := replace(path, func(w io.Writer) error {
		count := &counter{}
		out := gzip.NewWriter(io.MultiWriter(w, digest, count))
		if err := tree.WriteTar(io.MultiWriter(out, diff)); err != nil {
			return err
		}
		if err := out.Close(); err != nil {
			return err
		}
		m = meta{DigestHash: sha(digest), DiffIDHash: sha(diff), Bytes: count.n}
		return nil
	})
	if err != nil {
		return meta{}, err
	}
	return m, replace(path+".json", func(w io.Writer) error { return json.NewEncoder(w).Encode(m) })
}

func sha(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }

// replace writes a file through a temporary one, so that path is the old, the whole new, or none.
func replace(path string, write func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".partial-*")
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// sweep removes what an interrupted run left half written. The caller holds the cache.
func sweep(cache string) error {
	left, err := filepath.Glob(filepath.Join(cache, "*", ".partial-*"))
	if err != nil {
		return err
	}
	for _, name := range left {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// touch marks files as used now.
func touch(paths ...string) error {
	now := time.Now()
	for _, path := range paths {
		if err := os.Chtimes(path, now, now); err != nil {
			return err
		}
	}
	return nil
}

// prune removes all but the most recently used files of dir that match pattern.
func prune(dir, pattern string) error {
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return err
	}
	used := map[string]time.Time{}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		used[name] = info.ModTime()
	}
	slices.SortFunc(names, func(x, y string) int { return used[y].Compare(used[x]) })
	for _, name := range names[min(keep, len(names)):] {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// lock makes this process the only one that builds in cache, waiting for another that does.
func lock(ctx context.Context, cache string, progress io.Writer) (unlock func() error, err error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	retry := time.NewTicker(200 * time.Millisecond)
	defer retry.Stop()
	for waited := false; ; waited = true {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f.Close, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
		}
		if !waited {
			fmt.Fprintf(progress, "images: waiting for another build in %s\n", cache)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-retry.C:
		}
	}
}
