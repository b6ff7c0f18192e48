package rootfs_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/e2e/images/rootfs"
)

// object returns a 64-bit ELF file that names the given libraries as needed: a header, one
// section of dynamic entries, one of strings, and the section table.
func object(needed ...string) []byte {
	le := binary.LittleEndian
	names := []byte{0}
	var dynamic []byte
	for _, lib := range needed {
		dynamic = le.AppendUint64(dynamic, 1) // DT_NEEDED
		dynamic = le.AppendUint64(dynamic, uint64(len(names)))
		names = append(append(names, lib...), 0)
	}
	dynamic = append(dynamic, make([]byte, 16)...) // DT_NULL
	const header, section = 64, 64
	dynamicAt := header
	namesAt := dynamicAt + len(dynamic)
	tableAt := namesAt + len(names)

	out := []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	out = le.AppendUint16(out, 3)  // ET_DYN
	out = le.AppendUint16(out, 62) // EM_X86_64
	out = le.AppendUint32(out, 1)
	out = append(out, make([]byte, 16)...) // entry, program headers
	out = le.AppendUint64(out, uint64(tableAt))
	out = le.AppendUint32(out, 0)
	for _, v := range []uint16{header, 56, 0, section, 3, 2} {
		out = le.AppendUint16(out, v)
	}
	out = slices.Concat(out, dynamic, names, make([]byte, section))
	for _, s := range []struct{ kind, at, size, link uint64 }{
		{6, uint64(dynamicAt), uint64(len(dynamic)), 2}, // SHT_DYNAMIC
		{3, uint64(namesAt), uint64(len(names)), 0},     // SHT_STRTAB
	} {
		out = le.AppendUint32(out, 0)
		out = le.AppendUint32(out, uint32(s.kind))
		out = append(out, make([]byte, 16)...)
		out = le.AppendUint64(out, s.at)
		out = le.AppendUint64(out, s.size)
		out = le.AppendUint32(out, uint32(s.link))
		out = append(out, make([]byte, 20)...)
	}
	return out
}

func TestClosure(t *testing.T) {
	tree := rootfs.New()
	tree.AddFile("usr/bin/program", 0o755, object("libone.so.1"))
	tree.AddLink("usr/lib/x86_64-linux-gnu/libone.so.1", "libone.so.1.2")
	tree.AddFile("usr/lib/x86_64-linux-gnu/libone.so.1.2", 0o644, object("libtwo.so", "libone.so.1"))
	tree.AddFile("usr/lib/libtwo.so", 0o644, object())
	got, err := tree.Closure("usr/bin/program")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"usr/lib/libtwo.so", "usr/lib/x86_64-linux-gnu/libone.so.1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("closure (-want +got):\n%s", diff)
	}

	tree.AddFile("usr/lib/libtwo.so", 0o644, object("libthree.so", "libfour.so"))
	_, err = tree.Closure("usr/bin/program")
	for _, lib := range []string{"libthree.so", "libfour.so"} {
		if err == nil || !strings.Contains(err.Error(), "usr/lib/libtwo.so needs "+lib) {
			t.Errorf("error %v does not name %s", err, lib)
		}
	}
}
