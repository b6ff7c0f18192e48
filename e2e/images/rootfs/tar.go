package rootfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// ReadTar adds the directories, regular files and symbolic links of a tar stream to t. Links
// above a path are followed as a merged /usr asks for: with the link lib → usr/lib in t, the
// stream's lib/x lands in usr/lib/x. All entries become root's; hard links become symbolic
// ones; devices are an error. It returns the keys of what it added, directories excepted.
func (t *Tree) ReadTar(r io.Reader) ([]string, error) {
	var added []string
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return added, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read tar: %w", err)
		}
		name := t.place(h.Name)
		if name == "" {
			continue // the root directory
		}
		if err := t.addTar(name, h, in); err != nil {
			return nil, fmt.Errorf("read tar entry %s: %w", h.Name, err)
		}
		if h.Typeflag != tar.TypeDir {
			added = append(added, name)
		}
	}
}

func (t *Tree) addTar(name string, h *tar.Header, body io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		if e, ok := t.entries[name]; !ok || e.Mode.IsDir() {
			t.AddDir(name, h.FileInfo().Mode(), 0)
		}
	case tar.TypeSymlink:
		t.AddLink(name, h.Linkname)
	case tar.TypeLink:
		t.AddLink(name, "/"+t.place(h.Linkname))
	case tar.TypeReg:
		var data bytes.Buffer
		if _, err := io.Copy(&data, body); err != nil {
			return err
		}
		t.AddFile(name, h.FileInfo().Mode(), data.Bytes())
	default:
		return fmt.Errorf("type %q is not supported", h.Typeflag)
	}
	return nil
}

// place is the key for name once a link at its first component is followed.
func (t *Tree) place(name string) string {
	name = clean(name)
	for i, c := range name {
		if c != '/' {
			continue
		}
		if e, ok := t.entries[name[:i]]; ok && e.Mode&fs.ModeSymlink != 0 {
			return clean(e.Target) + name[i:]
		}
		break
	}
	return name
}

// WriteTar writes the tree as a tar stream: sorted, dated at the Unix epoch, owners by number
// only. Equal trees give equal bytes.
func (t *Tree) WriteTar(w io.Writer) error {
	out := tar.NewWriter(w)
	for _, name := range t.Paths() {
		if err := writeEntry(out, name, t.entries[name]); err != nil {
			return fmt.Errorf("write tar entry %s: %w", name, err)
		}
	}
	return out.Close()
}

func writeEntry(out *tar.Writer, name string, e Entry) error {
	h := &tar.Header{
		Name: name, Mode: int64(e.Mode.Perm()), Uid: e.Owner, Gid: e.Owner,
		ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg,
	}
	switch {
	case e.Mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		if e.Mode&fs.ModeSticky != 0 {
			h.Mode |= 0o1000
		}
	case e.Mode&fs.ModeSymlink != 0:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.Target
	default:
		return writeFile(out, h, e)
	}
	return out.WriteHeader(h)
}

func writeFile(out *tar.Writer, h *tar.Header, e Entry) error {
	h.Size = int64(len(e.data))
	if e.host != "" {
		info, err := os.Stat(e.host)
		if err != nil {
			return err
		}
		h.Size = info.Size()
	}
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	content, err := e.open()
	if err != nil {
		return err
	}
	defer content.Close()
	_, err = io.Copy(out, io.NewSectionReader(content, 0, h.Size))
	return err
}
