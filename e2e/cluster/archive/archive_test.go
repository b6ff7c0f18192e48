package archive

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	ociIndex = `{"schemaVersion":2,"manifests":[
  {"digest":"sha256:aa","annotations":{"org.opencontainers.image.ref.name":"example.com/app:v1"}},
  {"digest":"sha256:aa","annotations":{"org.opencontainers.image.ref.name":"ignored","io.containerd.image.name":"docker.io/library/app:v2"}},
  {"digest":"sha256:bb"}]}`
	ociManifest    = `{"config":{"digest":"sha256:cc"},"layers":[]}`
	dockerManifest = `[{"Config":"sha256:cc","RepoTags":["app:v1","example.com:5000/team/app"]},{"Config":"dd.json","RepoTags":null},
  {"Config":"blobs/sha256/ee","RepoTags":["index.docker.io/library/other:1"]}]`
)

func file(t testing.TB, entries ...[2]string) string {
	t.Helper()
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	for _, entry := range entries {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: entry[0], Mode: 0o644, Size: int64(len(entry[1]))}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(entry[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(name, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		name string
		file string
		want []Image
	}{
		{
			"layout", file(t, [2]string{"./index.json", ociIndex}, [2]string{"./blobs/sha256/aa", ociManifest}),
			[]Image{
				{Name: "example.com/app:v1", Digest: "sha256:aa", Config: "sha256:cc"},
				{Name: "docker.io/library/app:v2", Digest: "sha256:aa", Config: "sha256:cc"},
			},
		},
		{
			"docker", file(t, [2]string{"manifest.json", dockerManifest}),
			[]Image{
				{Name: "docker.io/library/app:v1", Config: "sha256:cc"},
				{Name: "example.com:5000/team/app:latest", Config: "sha256:cc"},
				{Name: "docker.io/library/other:1", Config: "sha256:ee"},
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Read(c.file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("Read (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	for name, path := range map[string]string{
		"other tar":        file(t, [2]string{"readme", "hello"}),
		"no names":         file(t, [2]string{"manifest.json", `[{"Config":"sha256:cc"}]`}),
		"manifest missing": file(t, [2]string{"index.json", ociIndex}),
		"half a document":  file(t, [2]string{"manifest.json", `[{`}),
		"no file":          filepath.Join(t.TempDir(), "none.tar"),
	} {
		if got, err := Read(path); err == nil {
			t.Errorf("%s: Read = %v; want an error", name, got)
		}
	}
}

func TestHeld(t *testing.T) {
	oci := []Image{{Name: "a:1", Digest: "sha256:aa", Config: "sha256:cc"}}
	docker := []Image{{Name: "a:1", Config: "sha256:cc"}}
	for _, c := range []struct {
		name   string
		images []Image
		stored map[string]string
		want   bool
	}{
		{"nothing there", oci, nil, false},
		{"same digest", oci, map[string]string{"a:1": "sha256:aa"}, true},
		{"name moved on", oci, map[string]string{"a:1": "sha256:bb", "sha256:cc": "sha256:aa"}, false},
		{"same configuration", docker, map[string]string{"a:1": "sha256:xx", "sha256:cc": "sha256:xx"}, true},
		{"configuration not known", docker, map[string]string{"a:1": "sha256:xx"}, false},
		{"other configuration", docker, map[string]string{"a:1": "sha256:xx", "sha256:cc": "sha256:yy"}, false},
		{"one of two", append(oci, Image{Name: "b:1", Digest: "sha256:bb"}), map[string]string{"a:1": "sha256:aa"}, false},
	} {
		if got := Held(c.images, c.stored); got != c.want {
			t.Errorf("%s: Held = %t; want %t", c.name, got, c.want)
		}
	}
}

func FuzzDocuments(f *testing.F) {
	f.Add([]byte(ociIndex), []byte(dockerManifest))
	f.Fuzz(func(_ *testing.T, index, manifest []byte) {
		_, _ = layout(map[string][]byte{"index.json": index, "blobs/sha256/aa": manifest}) // must not panic
		_, _ = docker(manifest)
	})
}
