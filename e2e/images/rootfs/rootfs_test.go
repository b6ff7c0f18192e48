package rootfs_test

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/e2e/images/rootfs"
)

func TestResolve(t *testing.T) {
	tree := rootfs.New()
	tree.AddLink("lib", "usr/lib")
	tree.AddFile("usr/lib/x/libc.so.6.1", 0o644, nil)
	tree.AddLink("usr/lib/x/libc.so.6", "libc.so.6.1")
	tree.AddLink("usr/sbin/iptables", "/etc/alternatives/iptables")
	tree.AddLink("etc/alternatives/iptables", "../../usr/sbin/xtables")
	tree.AddFile("usr/sbin/xtables", 0o755, nil)
	tree.AddLink("loop/a", "b")
	tree.AddLink("loop/b", "a")
	tree.AddLink("up", "../../usr")
	for name, want := range map[string]string{
		"/lib/x/libc.so.6":  "usr/lib/x/libc.so.6.1",
		"usr/sbin/iptables": "usr/sbin/xtables",
		"./usr/lib/":        "usr/lib",
		"up/sbin/xtables":   "usr/sbin/xtables",
		"loop/a":            "",
		"usr/none":          "",
	} {
		if got, ok := tree.Resolve(name); got != want || ok != (want != "") {
			t.Errorf("Resolve(%q) = %q, %t; want %q", name, got, ok, want)
		}
	}
}

func TestCopyTakesLinksAlong(t *testing.T) {
	src := rootfs.New()
	src.AddLink("lib64", "usr/lib64")
	src.AddLink("usr/lib64/ld.so", "/usr/lib/ld-2.so")
	src.AddFile("usr/lib/ld-2.so", 0o755, []byte("loader"))
	src.AddFile("usr/lib/other", 0o644, nil)
	dst := rootfs.New()
	if err := dst.Copy(src, "/lib64/ld.so"); err != nil {
		t.Fatal(err)
	}
	want := []string{"lib64", "usr", "usr/lib", "usr/lib/ld-2.so", "usr/lib64", "usr/lib64/ld.so"}
	if diff := cmp.Diff(want, dst.Paths()); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
	if data, err := dst.ReadFile("lib64/ld.so"); string(data) != "loader" || err != nil {
		t.Errorf("ReadFile = %q, %v", data, err)
	}
	if err := dst.Copy(src, "usr/lib/none"); err == nil {
		t.Error("Copy of a missing file gave no error")
	}
}

func TestSubtract(t *testing.T) {
	base := rootfs.New()
	base.AddFile("usr/lib/libc.so", 0o644, nil)
	base.AddDir("etc", 0o755, 0)
	tree := rootfs.New()
	tree.AddFile("usr/lib/libc.so", 0o644, nil)
	tree.AddFile("usr/lib/libm.so", 0o644, nil)
	tree.AddDir("usr/lib-x", 0o755, 0)
	tree.AddDir("etc", 0o755, 0)
	tree.Subtract(base)
	want := []string{"usr", "usr/lib", "usr/lib-x", "usr/lib/libm.so"}
	if diff := cmp.Diff(want, tree.Paths()); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}

// TestWriteTar fills a tree in two orders and reads what both give.
func TestWriteTar(t *testing.T) {
	host := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(host, []byte("elf"), 0o600); err != nil {
		t.Fatal(err)
	}
	steps := []func(*rootfs.Tree){
		func(t *rootfs.Tree) { t.AddHostFile("usr/bin/program", 0o755, host) },
		func(t *rootfs.Tree) { t.AddLink("bin", "usr/bin") },
		func(t *rootfs.Tree) { t.AddDir("tmp", 0o777|fs.ModeSticky, 0) },
		func(t *rootfs.Tree) { t.AddDir("var/lib/app", 0o750, 1337) },
		func(t *rootfs.Tree) { t.AddFile("etc/name", 0o644, []byte("x\n")) },
	}
	var streams [2]bytes.Buffer
	for i := range streams {
		tree := rootfs.New()
		for j := range steps {
			if i == 1 {
				j = len(steps) - 1 - j
			}
			steps[j](tree)
		}
		if err := tree.WriteTar(&streams[i]); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(streams[0].Bytes(), streams[1].Bytes()) {
		t.Error("equal trees gave different streams")
	}
	var got []string
	in := tar.NewReader(&streams[0])
	for h, err := in.Next(); err == nil; h, err = in.Next() {
		got = append(got, strings.TrimSpace(h.FileInfo().Mode().String()+" "+h.Name+" "+h.Linkname))
		if want := 1337; h.Name == "var/lib/app/" && (h.Uid != want || h.Gid != want) {
			t.Errorf("owner of %s = %d:%d, want %d", h.Name, h.Uid, h.Gid, want)
		}
	}
	want := []string{
		"Lrwxrwxrwx bin usr/bin", "drwxr-xr-x etc/", "-rw-r--r-- etc/name", "dtrwxrwxrwx tmp/",
		"drwxr-xr-x usr/", "drwxr-xr-x usr/bin/", "-rwxr-xr-x usr/bin/program",
		"drwxr-xr-x var/", "drwxr-xr-x var/lib/", "drwxr-x--- var/lib/app/",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

// TestReadTar reads what a package holds: paths above a merged /usr, hard links, a set-user-id
// program and foreign owners.
func TestReadTar(t *testing.T) {
	var stream bytes.Buffer
	out := tar.NewWriter(&stream)
	for _, h := range []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./lib/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./lib/a.so", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 7, Size: 1},
		{Name: "./usr/lib/b.so", Typeflag: tar.TypeLink, Linkname: "./lib/a.so"},
		{Name: "./usr/lib/c.so", Typeflag: tar.TypeSymlink, Linkname: "b.so"},
	} {
		if err := out.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := out.Write([]byte("A")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	tree := rootfs.New()
	tree.AddLink("lib", "usr/lib")
	added, err := tree.ReadTar(&stream)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"usr/lib/a.so", "usr/lib/b.so", "usr/lib/c.so"}, added); diff != "" {
		t.Errorf("added (-want +got):\n%s", diff)
	}
	if data, err := tree.ReadFile("lib/c.so"); string(data) != "A" || err != nil {
		t.Errorf("lib/c.so holds %q, %v", data, err)
	}
	if e, _ := tree.Entry("usr/lib/a.so"); e.Mode != 0o755 || e.Owner != 0 {
		t.Errorf("entry a.so = %v of %d, want -rwxr-xr-x of 0", e.Mode, e.Owner)
	}

	stream.Reset()
	out = tar.NewWriter(&stream)
	if err := out.WriteHeader(&tar.Header{Name: "dev/null", Typeflag: tar.TypeChar}); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.ReadTar(&stream); err == nil {
		t.Error("a device was accepted")
	}
}

// TestLibraries looks at the test program itself, which is ELF, in a tree with nothing else.
func TestLibraries(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tree := rootfs.New()
	tree.AddHostFile("bin/self", 0o755, self)
	tree.AddFile("bin/script", 0o755, []byte("#!/bin/sh\n"))
	tree.AddFile("bin/short", 0o755, []byte("\x7f"))
	tree.AddFile("bin/broken", 0o755, []byte("\x7fELF and no more"))
	for _, name := range []string{"bin/script", "bin/short"} {
		if libs, err := tree.Libraries(name); libs != nil || err != nil {
			t.Errorf("Libraries(%s) = %v, %v; want nothing", name, libs, err)
		}
	}
	for _, name := range []string{"bin/broken", "bin/none"} {
		if _, err := tree.Libraries(name); err == nil {
			t.Errorf("Libraries(%s) gave no error", name)
		}
	}
	if _, err := tree.Closure("bin/script", "bin/none"); err == nil {
		t.Error("Closure of a missing program gave no error")
	}
}
