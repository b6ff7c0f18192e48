// Package debian gets packages of the host's Debian release and reads what is in them.
//
// apt and dpkg do the work (and check the archive's signatures), with a state directory of
// their own: nothing is installed on the host, its package lists are not touched, and no
// privilege is needed. Packages land in a directory that the caller owns; their files go to
// images as a rootfs tree.
package debian

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/e2e/images/command"
	"github.com/sluicemesh/sluice/e2e/images/rootfs"
)

// Set names packages to get.
type Set struct {
	// Whole packages come with everything they depend on.
	Whole []string
	// Alone packages come without what they depend on.
	Alone []string
}

// ErrNoApt is returned on a host without apt-get, apt-cache or dpkg-deb.
var ErrNoApt = errors.New("this needs a Debian host (apt-get, apt-cache and dpkg-deb); " +
	"elsewhere build the files of e2e/images/dockerfiles with docker")

// Fetch returns the .deb files of set, sorted. They are kept in a directory below cache whose
// name is a hash of set and the host's release, so that each set is downloaded once; it is
// complete or absent, whatever interrupts or overtakes Fetch.
func Fetch(ctx context.Context, cache string, set Set) ([]string, error) {
	for _, program := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, ErrNoApt
		}
	}
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return nil, fmt.Errorf("read the host's release: %w", err)
	}
	dir := filepath.Join(cache, "debian-"+key(set, release))
	if debs, err := list(dir); err == nil && len(debs) > 0 {
		return debs, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp(cache, "debian-partial-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	if err := download(ctx, work, set); err != nil {
		return nil, fmt.Errorf("get Debian packages: %w", err)
	}
	if err := os.Rename(filepath.Join(work, "debs"), dir); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	return list(dir)
}

// Files is what is in a number of packages.
type Files struct {
	// Tree has a merged /usr, and all files of the packages, unconfigured: what maintainer
	// scripts would make (alternatives, certificate bundles) is missing.
	Tree *rootfs.Tree
	// Owner is the package that a path of Tree comes from.
	Owner map[string]string
}

// Read returns the files of debs.
func Read(ctx context.Context, debs []string) (Files, error) {
	f := Files{Tree: rootfs.New(), Owner: map[string]string{}}
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		f.Tree.AddLink(dir, "usr/"+dir)
	}
	for _, deb := range debs {
		content, err := command.Output(ctx, command.Spec{Args: []string{"dpkg-deb", "--fsys-tarfile", deb}})
		if err != nil {
			return Files{}, err
		}
		names, err := f.Tree.ReadTar(bytes.NewReader(content))
		if err != nil {
			return Files{}, fmt.Errorf("%s: %w", filepath.Base(deb), err)
		}
		pkg, _, _ := strings.Cut(filepath.Base(deb), "_")
		for _, name := range names {
			f.Owner[name] = pkg
		}
	}
	return f, nil
}

// CopyTo copies the named files into t, with the libraries that the programs among them need
// and the licence terms of every package that takes part.
func (f Files) CopyTo(t *rootfs.Tree, names ...string) error {
	libs, err := f.Tree.Closure(names...)
	if err != nil {
		return err
	}
	for _, name := range slices.Concat(names, libs) {
		if err := t.Copy(f.Tree, name); err != nil {
			return err
		}
		key, _ := f.Tree.Resolve(name)
		if err := t.Copy(f.Tree, path.Join("usr/share/doc", f.Owner[key], "copyright")); err != nil {
			return err
		}
	}
	return nil
}

func key(set Set, release []byte) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %s", set.Whole, set.Alone, release))
	return hex.EncodeToString(sum[:6])
}

func list(dir string) ([]string, error) {
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	slices.Sort(debs)
	return debs, err
}

// download fills work/debs. apt keeps its lists in work too.
func download(ctx context.Context, work string, set Set) error {
	for _, dir := range []string{"debs", "lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(work, dir), 0o755); err != nil {
			return err
		}
	}
	// An empty status file: what the host has installed must not change what we get.
	if err := os.WriteFile(filepath.Join(work, "status"), nil, 0o644); err != nil {
		return err
	}
	options := aptOptions(work)
	apt := func(dir string, args ...string) ([]byte, error) {
		return command.Output(ctx, command.Spec{
			Dir: dir, Env: []string{"LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"},
			Args: slices.Concat(args[:1], options, args[1:]),
		})
	}
	if _, err := apt("", "apt-get", "update"); err != nil {
		return err
	}
	out, err := apt("", append([]string{
		"apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests",
		"--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances",
	}, set.Whole...)...)
	if err != nil {
		return err
	}
	names := slices.Concat([]string{"apt-get", "download"}, closure(string(out)), set.Alone)
	_, err = apt(filepath.Join(work, "debs"), names...)
	return err
}

func aptOptions(work string) []string {
	return []string{
		"-o", "APT::Architecture=amd64",
		"-o", "APT::Sandbox::User=", // the cache may lie where the user _apt cannot go
		"-o", "Dir::State=" + work,
		"-o", "Dir::State::Lists=" + filepath.Join(work, "lists"),
		"-o", "Dir::State::status=" + filepath.Join(work, "status"),
		"-o", "Dir::Cache=" + work,
		"-o", "Dir::Cache::Archives=" + filepath.Join(work, "archives"),
	}
}

// closure takes the package names out of what apt-cache depends prints: they start in column
// one; virtual packages are in angle brackets and foreign architectures have a colon.
func closure(depends string) []string {
	var names []string
	for line := range strings.Lines(depends) {
		name := strings.TrimRight(line, "\n")
		if name != "" && !strings.ContainsAny(name, " <|:") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
