package nodeimage

import (
	"archive/tar"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// iptablesLayer writes a layer with Debian's iptables, its plugins and every library they need, taken from the root file system.
func iptablesLayer(root, file string) error {
	plugins, err := filepath.Glob(filepath.Join(root, "usr/lib/*/xtables/*.so"))
	if err != nil || len(plugins) == 0 {
		return fmt.Errorf("find iptables' plugins in the root file system: %d found, %v", len(plugins), err)
	}
	c := closure{root: root, seen: map[string]bool{}}
	for _, plugin := range plugins {
		name, err := filepath.Rel(root, plugin)
		if err != nil {
			return fmt.Errorf("name plugin: %w", err)
		}
		if err := c.add(name); err != nil {
			return err
		}
	}
	for _, name := range []string{
		"iptables-nft", "iptables-nft-save", "iptables-nft-restore", "ip6tables-nft", "ip6tables-nft-save", "ip6tables-nft-restore",
	} {
		if err := c.add("usr/sbin/" + name); err != nil {
			return err
		}
		// The nft flavour under the plain name, always: the kernel may lack the legacy one, and both are in force side by side.
		plain := "usr/sbin/" + strings.Replace(name, "-nft", "", 1)
		c.links = append(c.links, [2]string{plain, path.Base(name)})
	}
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} { // merged /usr: loaders are named by their old path
		c.links = append(c.links, [2]string{dir, "usr/" + dir})
	}
	return c.write(file)
}

// closure is a growing set of files of a root file system. Names are slash separated and relative to root.
type closure struct {
	root  string
	seen  map[string]bool
	files []string
	links [][2]string // name, target
}

// add takes in a file, what it links to, its loader and the libraries it needs.
func (c *closure) add(name string) error {
	name = usr(path.Clean(strings.TrimPrefix(name, "/")))
	if c.seen[name] {
		return nil
	}
	c.seen[name] = true
	local := filepath.Join(c.root, name)
	info, err := os.Lstat(local)
	if err != nil {
		return fmt.Errorf("take %s: %w", name, err)
	}
	if info.Mode().Type() == fs.ModeSymlink {
		target, err := os.Readlink(local)
		if err != nil {
			return fmt.Errorf("take %s: %w", name, err)
		}
		c.links = append(c.links, [2]string{name, target})
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(name), target)
		}
		return c.add(target)
	}
	c.files = append(c.files, name)
	needed, err := needs(local)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	for _, library := range needed {
		found, err := c.find(library)
		if err != nil {
			return fmt.Errorf("%s needs %s: %w", name, library, err)
		}
		if err := c.add(found); err != nil {
			return err
		}
	}
	return nil
}

// usr maps a path below a merged directory to where it really is.
func usr(name string) string {
	top, _, _ := strings.Cut(name, "/")
	if slices.Contains([]string{"bin", "sbin", "lib", "lib64"}, top) {
		return "usr/" + name
	}
	return name
}

// find locates a library by name; a loader comes with its absolute path already.
func (c *closure) find(library string) (string, error) {
	if path.IsAbs(library) {
		return library, nil
	}
	found, err := filepath.Glob(filepath.Join(c.root, "usr/lib", "*", library))
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fs.ErrNotExist
	}
	return filepath.Rel(c.root, found[0])
}

// needs lists the loader and libraries of a program or library; other files need none.
func needs(file string) ([]string, error) {
	binary, err := elf.Open(file)
	var format *elf.FormatError
	if errors.As(err, &format) || errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer binary.Close()
	needed, err := binary.ImportedLibraries()
	if err != nil {
		return nil, err
	}
	for _, segment := range binary.Progs {
		if segment.Type == elf.PT_INTERP {
			loader, err := io.ReadAll(segment.Open())
			if err != nil {
				return nil, err
			}
			needed = append(needed, strings.TrimRight(string(loader), "\x00"))
		}
	}
	return needed, nil
}

// write stores the set as a tar file, in order of name.
func (c *closure) write(file string) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	w := tar.NewWriter(out)
	slices.SortFunc(c.links, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	for _, link := range c.links {
		header := &tar.Header{Typeflag: tar.TypeSymlink, Name: link[0], Linkname: link[1], Mode: 0o777}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
	}
	slices.Sort(c.files)
	for _, name := range c.files {
		if err := addFile(w, filepath.Join(c.root, name), name, 0o755); err != nil {
			return err
		}
	}
	return w.Close()
}

// addFile appends one regular file to an archive under a name and mode of its own; owner root, no time.
func addFile(w *tar.Writer, local, name string, mode int64) error {
	in, err := os.Open(local)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(w, in)
	return err
}
