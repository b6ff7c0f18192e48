package rootfs

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// maxLinks is how many symbolic links a path may lead through, as in Linux (ELOOP).
const maxLinks = 40

// libraryDirs is where the loader of Debian's glibc looks for libraries, in its order
// (/etc/ld.so.conf.d is not in our images, so the compiled-in list is all there is).
var libraryDirs = [...]string{
	"lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib", "usr/lib", "lib64", "usr/lib64",
}

// Resolve follows all symbolic links in name, absolute ones from the root of the tree, and
// returns the key of what it leads to. ok is false when there is nothing, or a loop.
func (t *Tree) Resolve(name string) (key string, ok bool) {
	return t.walk(name, func(string) {})
}

// walk is Resolve that calls seen with the key of each link on the way.
func (t *Tree) walk(name string, seen func(link string)) (string, bool) {
	rest := strings.Split(clean(name), "/")
	at := ""
	for links := 0; len(rest) > 0; {
		next := path.Join(at, rest[0])
		rest = rest[1:]
		e, ok := t.entries[next]
		if !ok {
			return "", false
		}
		if e.Mode&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", false
		}
		seen(next)
		target := e.Target
		if !strings.HasPrefix(target, "/") {
			target = path.Join(at, target)
		}
		rest = append(strings.Split(clean(target), "/"), rest...)
		at = ""
	}
	return at, true
}

// Copy copies what name leads to in src, and every symbolic link on the way, into t.
func (t *Tree) Copy(src *Tree, name string) error {
	key, ok := src.walk(name, func(link string) { t.add(link, src.entries[link]) })
	if !ok {
		return fmt.Errorf("copy %s: no such file", name)
	}
	t.add(key, src.entries[key])
	return nil
}

// Subtract removes from t every path that base holds too, whatever it holds there, directories
// that are still needed excepted. It is how a layer is made of what the layers below do not have.
func (t *Tree) Subtract(base *Tree) {
	kept := map[string]Entry{}
	for name, e := range t.entries {
		if _, below := base.entries[name]; below {
			continue
		}
		kept[name] = e
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			kept[dir] = t.entries[dir]
		}
	}
	t.entries = kept
}

// Libraries returns the paths, as the loader finds them, of the shared libraries that the ELF
// file name needs directly, and of its loader; nothing for a static program or a file that is
// not ELF. The error names every library that t does not hold.
func (t *Tree) Libraries(name string) ([]string, error) {
	content, err := t.Open(name)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	magic := make([]byte, len(elf.ELFMAG))
	if _, err := content.ReadAt(magic, 0); err != nil || string(magic) != elf.ELFMAG {
		return nil, nil // too short, or a script
	}
	file, err := elf.NewFile(content)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	needed, err := file.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("read the dynamic section of %s: %w", name, err)
	}
	var found []string
	var missing []error
	if loader := interpreter(file); loader != "" {
		needed = append(needed, loader)
	}
	for _, lib := range needed {
		if at, ok := t.library(lib); ok {
			found = append(found, at)
			continue
		}
		missing = append(missing, fmt.Errorf("%s needs %s, which is not in the tree", name, lib))
	}
	return found, errors.Join(missing...)
}

// Closure returns, sorted, the paths of all libraries that the named ELF files need directly
// or through other libraries, all looked up in t.
func (t *Tree) Closure(names ...string) ([]string, error) {
	var all []string
	var missing []error
	for queue := slices.Clone(names); len(queue) > 0; queue = queue[1:] {
		libs, err := t.Libraries(queue[0])
		if err != nil {
			missing = append(missing, err)
			continue
		}
		for _, lib := range libs {
			if !slices.Contains(all, lib) {
				all = append(all, lib)
				queue = append(queue, lib)
			}
		}
	}
	slices.Sort(all)
	return all, errors.Join(missing...)
}

func (t *Tree) library(name string) (string, bool) {
	if strings.HasPrefix(name, "/") {
		_, ok := t.Resolve(name)
		return clean(name), ok
	}
	for _, dir := range libraryDirs {
		at := path.Join(dir, name)
		if _, ok := t.Resolve(at); ok {
			return at, true
		}
	}
	return "", false
}

// interpreter returns the loader an ELF file asks for, "" for a library or a static program.
func interpreter(file *elf.File) string {
	for _, p := range file.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		data := make([]byte, p.Filesz)
		if _, err := p.ReadAt(data, 0); err != nil {
			return ""
		}
		return strings.TrimRight(string(data), "\x00")
	}
	return ""
}
