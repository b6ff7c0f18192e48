// Package cache keeps what is dear to make, outside the source tree and by content.
//
// An entry is a directory named after what it is and a hash of everything it was made from, so an unchanged step is
// skipped and a changed one never meets stale files. It appears by one rename: an interrupted build leaves no entry. It must
// not know what the entries hold. Names, keys and a function that fills a directory come in; finished directories go out.
package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sluicemesh/sluice/e2e/cluster/progress"
)

// Store is a cache directory. It may be shared by any number of processes at once.
type Store struct {
	Root string            // absolute directory; made when first used
	Out  *progress.Printer // where waiting and building are reported
}

// Root says where the cache is: $SLUICE_CACHE, or "sluice" in the user's cache directory. getenv is os.Getenv.
func Root(getenv func(string) string) (string, error) {
	if dir := getenv("SLUICE_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "sluice"), nil
	}
	home := getenv("HOME")
	if home == "" {
		return "", errors.New("neither SLUICE_CACHE nor HOME is set: set SLUICE_CACHE to a directory for built parts")
	}
	return filepath.Join(home, ".cache", "sluice"), nil
}

// Key hashes everything an entry depends on to 16 hex digits. The border between parts counts: ("a", "bc") and ("ab", "c") differ.
func Key(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// Entry names one cached step.
type Entry struct {
	Name string // what it is, one path element: "kubernetes"
	Key  string // a Key over all inputs
	What string // for people: "build Kubernetes v1.36.3"
}

// Dir is where the entry is or will be.
func (s Store) Dir(e Entry) string { return filepath.Join(s.Root, e.Name, e.Key) }

// Has reports whether the entry is there, complete.
func (s Store) Has(e Entry) bool {
	_, err := os.Stat(s.Dir(e))
	return err == nil
}

// Ensure returns the entry's directory, calling build to fill a new one when it is missing. Only one process builds an
// entry of a name at a time; others wait and then find it. What an interrupted build left is removed first.
func (s Store) Ensure(ctx context.Context, e Entry, build func(ctx context.Context, dir string) error) (string, error) {
	dir := s.Dir(e)
	if s.Has(e) {
		return dir, nil
	}
	unlock, err := s.Lock(ctx, e.Name)
	if err != nil {
		return "", err
	}
	defer unlock()
	if s.Has(e) {
		return dir, nil
	}
	partial := dir + ".partial"
	if err := Remove(partial); err != nil {
		return "", fmt.Errorf("clear interrupted %s: %w", e.Name, err)
	}
	if err := os.MkdirAll(partial, 0o755); err != nil {
		return "", fmt.Errorf("make cache entry: %w", err)
	}
	err = s.Out.Step(ctx, e.What, func(ctx context.Context) error { return build(ctx, partial) })
	if err != nil {
		return "", fmt.Errorf("%s: %w", e.What, err)
	}
	if err := os.Rename(partial, dir); err != nil {
		return "", fmt.Errorf("finish cache entry: %w", err)
	}
	return dir, nil
}
