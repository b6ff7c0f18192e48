// Package rootfs holds the file system of an image layer as a plain value and writes it as a
// tar stream whose bytes depend on nothing but that value: entries are sorted, times are the
// epoch, owners are numbers.
//
// It resolves symbolic links and shared libraries inside a tree, never on the host. The only
// thing it reads from the host is the content of files added with [Tree.AddHostFile]. It runs
// no program and writes nothing to disk; trees come from debian and the recipes of images.
package rootfs

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

// Entry is one file, directory or symbolic link of a [Tree].
type Entry struct {
	// Mode holds permission bits and, for what is no regular file, fs.ModeDir or
	// fs.ModeSymlink; fs.ModeSticky is kept, set-user-id bits never are.
	Mode fs.FileMode
	// Owner is the numeric user and group of the entry.
	Owner int
	// Target is where a symbolic link points, as stored.
	Target string

	data []byte // content of a regular file, when host is empty
	host string // path on the host that holds the content
}

// Content is what a regular file holds, readable at any offset.
type Content interface {
	io.ReaderAt
	io.Closer
}

// Tree is a file system in memory. Keys are slash-separated paths without a leading slash.
// The zero value is not usable, use [New]. A Tree is not safe for concurrent writes.
type Tree struct {
	entries map[string]Entry
}

// New returns an empty tree.
func New() *Tree { return &Tree{entries: map[string]Entry{}} }

// AddFile adds a regular file of root's with the given content, which is kept, not copied.
func (t *Tree) AddFile(name string, perm fs.FileMode, data []byte) {
	t.add(name, Entry{Mode: perm.Perm(), data: data})
}

// AddHostFile adds a regular file of root's whose content is read from host when it is needed.
func (t *Tree) AddHostFile(name string, perm fs.FileMode, host string) {
	t.add(name, Entry{Mode: perm.Perm(), host: host})
}

// AddDir adds a directory that belongs to the user and group owner. The only bit of perm kept
// beside the permissions is fs.ModeSticky.
func (t *Tree) AddDir(name string, perm fs.FileMode, owner int) {
	t.add(name, Entry{Mode: perm&(fs.ModePerm|fs.ModeSticky) | fs.ModeDir, Owner: owner})
}

// AddLink adds a symbolic link at name that points to target, absolute or relative to name's directory.
func (t *Tree) AddLink(name, target string) {
	t.add(name, Entry{Mode: fs.ModeSymlink | 0o777, Target: target})
}

// add stores e under name and, where they are missing, the directories above it.
func (t *Tree) add(name string, e Entry) {
	name = clean(name)
	t.entries[name] = e
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, ok := t.entries[dir]; !ok {
			t.entries[dir] = Entry{Mode: fs.ModeDir | 0o755}
		}
	}
}

// Entry returns what is stored under name itself; links are not followed.
func (t *Tree) Entry(name string) (Entry, bool) {
	e, ok := t.entries[clean(name)]
	return e, ok
}

// Paths returns all keys, sorted, so that a directory comes before what is in it.
func (t *Tree) Paths() []string { return slices.Sorted(maps.Keys(t.entries)) }

// Glob returns the keys that match pattern (see [path.Match]), sorted.
func (t *Tree) Glob(pattern string) ([]string, error) {
	var found []string
	for _, name := range t.Paths() {
		ok, err := path.Match(pattern, name)
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
		if ok {
			found = append(found, name)
		}
	}
	return found, nil
}

// Open returns the content of the regular file that name leads to. The caller closes it.
func (t *Tree) Open(name string) (Content, error) {
	real, ok := t.Resolve(name)
	if !ok || !t.entries[real].Mode.IsRegular() {
		return nil, fmt.Errorf("open %s: no regular file", name)
	}
	return t.entries[real].open()
}

// ReadFile returns the whole content of the regular file that name leads to.
func (t *Tree) ReadFile(name string) ([]byte, error) {
	c, err := t.Open(name)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return io.ReadAll(io.NewSectionReader(c, 0, 1<<40))
}

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

func (e Entry) open() (Content, error) {
	if e.host != "" {
		return os.Open(e.host)
	}
	return memory{bytes.NewReader(e.data)}, nil
}

// clean makes a key of any spelling of a path: "./usr/bin/", "/usr/bin" and "usr/bin" are one.
func clean(name string) string {
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}
