package images_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/e2e/images"
	"github.com/sluicemesh/sluice/e2e/images/rootfs"
	"github.com/sluicemesh/sluice/internal/golden"
)

// TestBuildIsReproducible builds everything a second time, from another directory into another
// cache, and wants the same bytes.
func TestBuildIsReproducible(t *testing.T) {
	image(t, "pilot")
	again, err := build(t.Context(), t.TempDir(), images.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(again); got != 6 {
		t.Fatalf("built %d images, want 6", got)
	}
	for _, second := range again {
		first := image(t, second.Name)
		if first.Ref != second.Ref || first.Digest != second.Digest {
			t.Errorf("first build gave %s %s, second %s %s", first.Ref, first.Digest, second.Ref, second.Digest)
		}
		a, err := os.ReadFile(first.Archive)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(second.Archive)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("archives of %s differ", second.Name)
		}
	}
}

func TestReferences(t *testing.T) {
	set := regexp.MustCompile(`^ghcr\.io/sluicemesh/(pilot|proxyv2):(dev-[0-9a-f]{12})$`)
	pilot := set.FindStringSubmatch(image(t, "pilot").Ref)
	proxy := set.FindStringSubmatch(image(t, "proxyv2").Ref)
	if pilot == nil || proxy == nil || pilot[2] != proxy[2] {
		t.Errorf("references %s and %s, want one tag dev-<12 hex>", image(t, "pilot").Ref, image(t, "proxyv2").Ref)
	}
	for _, name := range []string{"httpbin", "sleep", "demoapp"} {
		if got, want := image(t, name).Ref, "ghcr.io/sluicemesh/"+name+":1.0"; got != want {
			t.Errorf("reference %s, want %s", got, want)
		}
	}
}

// TestArchivesAreValid checks every hash and size of an archive, and what the image runs as.
func TestArchivesAreValid(t *testing.T) {
	type settings struct {
		User, WorkingDir, Arch string
		Entrypoint, Cmd        []string
	}
	for name, want := range map[string]settings{
		"pilot":       {"1337:1337", "/", "amd64", []string{"/usr/local/bin/sluiced"}, nil},
		"proxyv2":     {"1337:1337", "/", "amd64", []string{"/usr/local/bin/pilot-agent"}, nil},
		"httpbin":     {"65532:65532", "/", "amd64", []string{"/usr/local/bin/httpbin"}, nil},
		"install-cni": {"0:0", "/", "amd64", []string{"/usr/local/bin/install-cni"}, nil},
		"sleep":       {"65532:65532", "/", "amd64", nil, []string{"/bin/sleep", "infinity"}},
		"demoapp":     {"65532:65532", "/", "amd64", []string{"/usr/local/bin/demoapp"}, nil},
	} {
		opened := open(t, image(t, name))
		if err := validate.Image(opened); err != nil {
			t.Errorf("archive of %s: %v", name, err)
		}
		file, err := opened.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		c := file.Config
		got := settings{c.User, c.WorkingDir, file.Architecture, c.Entrypoint, c.Cmd}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("settings of %s (-want +got):\n%s", name, diff)
		}
	}
}

// TestDockerfiles wants a file for each image, and no other, that runs the same program as the
// same user.
func TestDockerfiles(t *testing.T) {
	const dir = "dockerfiles"
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(images.Names()) {
		t.Errorf("%d files in %s, want one for each of %v", len(files), dir, images.Names())
	}
	for _, name := range images.Names() {
		data, err := os.ReadFile(filepath.Join(dir, name+".Dockerfile"))
		if err != nil {
			t.Fatal(err)
		}
		file, err := open(t, image(t, name)).ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		for word, list := range map[string][]string{"ENTRYPOINT": file.Config.Entrypoint, "CMD": file.Config.Cmd} {
			if len(list) == 0 {
				continue
			}
			want := fmt.Sprintf("\n%s [\"%s\"]\n", word, strings.Join(list, `", "`))
			if !strings.Contains(string(data), want) {
				t.Errorf("%s.Dockerfile lacks the line%s", name, want)
			}
		}
		if want := "\nUSER " + file.Config.User + "\n"; !strings.Contains(string(data), want) {
			t.Errorf("%s.Dockerfile lacks the line%s", name, want)
		}
	}
}

// TestUnchangedIsNotRebuilt changes one program between builds: its layer alone is built, the
// tag of the set changes, other images stay. Without a change nothing is built.
func TestUnchangedIsNotRebuilt(t *testing.T) {
	before := image(t, "proxyv2")
	var report strings.Builder
	if _, err := build(t.Context(), built.dir, images.Config{Progress: &report}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(report.String(), "layer") {
		t.Errorf("a build without a change built a layer:\n%s", report.String())
	}

	program1 := filepath.Join(built.dir, "module", "cmd", "sluice-init", "main.go")
	if err := os.WriteFile(program1, []byte(program("changed")), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(program1, []byte(program("cmd/sluice-init")), 0o644); err != nil {
			t.Error(err)
		}
	})
	report.Reset()
	after, err := build(t.Context(), built.dir, images.Config{Progress: &report})
	if err != nil {
		t.Fatal(err)
	}
	var layers []string
	for _, line := range lines(report.String()) {
		if name, ok := strings.CutPrefix(line, "images: layer "); ok {
			layers = append(layers, strings.Split(name, ",")[0])
		}
	}
	if diff := cmp.Diff([]string{"proxyv2"}, layers); diff != "" {
		t.Errorf("layers built after a change of sluice-init (-want +got):\n%s", diff)
	}
	for _, img := range after {
		old, same := image(t, img.Name), img.Name != "proxyv2"
		if (img.Digest == old.Digest) != same {
			t.Errorf("%s: digest %s, before %s; same = %t wanted", img.Name, img.Digest, old.Digest, same)
		}
		if rolled := slices.Contains([]string{"pilot", "proxyv2", "install-cni"}, img.Name); (img.Ref != old.Ref) != rolled {
			t.Errorf("%s: reference %s, before %s; new tag = %t wanted", img.Name, img.Ref, old.Ref, rolled)
		}
	}
	if before.Digest == after[1].Digest {
		t.Errorf("digest of proxyv2 did not change")
	}
}

func TestOnlyAndTag(t *testing.T) {
	pilot := image(t, "pilot")
	got, err := build(t.Context(), built.dir, images.Config{Only: []string{"proxyv2"}, Tag: "v9"})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Ref != "ghcr.io/sluicemesh/proxyv2:v9" || got[0].Digest != image(t, "proxyv2").Digest {
		t.Errorf("Build(only proxyv2, tag v9) = %+v", got)
	}
	tag, err := images.Tag(t.Context(), images.Config{
		Root: filepath.Join(built.dir, "module"), Cache: filepath.Join(built.dir, "cache"),
	})
	if err != nil || images.Hub+"/pilot:"+tag != pilot.Ref {
		t.Errorf("Tag() = %q, %v; want that of %s", tag, err, pilot.Ref)
	}
}

// TestProxyListing compares every path of the proxy image with a file. The listing holds for
// Debian 12, where library versions are those of bookworm.
func TestProxyListing(t *testing.T) {
	img := image(t, "proxyv2")
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^VERSION_CODENAME=bookworm$`).Match(release) {
		t.Skip("the expected listing is that of Debian 12 (bookworm); this host is another release")
	}
	entries := map[string]string{}
	eachEntry(t, img, func(h *tar.Header, _ []byte) {
		link := ""
		if h.Typeflag == tar.TypeSymlink {
			link = " -> " + h.Linkname
		}
		if h.Uid != h.Gid || !h.ModTime.Equal(time.Unix(0, 0)) {
			t.Errorf("%s: owner %d:%d, dated %s", h.Name, h.Uid, h.Gid, h.ModTime)
		}
		entries[h.Name] = fmt.Sprintf("%s %4d %s%s\n", h.FileInfo().Mode(), h.Uid, h.Name, link)
	})
	var names []string
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names)
	var listing strings.Builder
	for _, name := range names {
		listing.WriteString(entries[name])
	}
	golden.Compare(t, "testdata/proxyv2.bookworm.txt", []byte(listing.String()))
}

// TestLibrariesAreComplete looks up, inside each image, every library that any program or
// library in it names.
func TestLibrariesAreComplete(t *testing.T) {
	for name, want := range map[string]int{"pilot": 1, "proxyv2": 100, "install-cni": 90, "httpbin": 1, "sleep": 30, "demoapp": 1} {
		tree := rootfs.New()
		eachEntry(t, image(t, name), func(h *tar.Header, body []byte) {
			switch h.Typeflag {
			case tar.TypeSymlink:
				tree.AddLink(h.Name, h.Linkname)
			case tar.TypeReg:
				tree.AddFile(h.Name, h.FileInfo().Mode(), body)
			}
		})
		programs := 0
		for _, path := range tree.Paths() {
			e, _ := tree.Entry(path)
			data, err := tree.ReadFile(path)
			if !e.Mode.IsRegular() || err != nil || !bytes.HasPrefix(data, []byte("\x7fELF")) {
				continue
			}
			programs++
			if _, err := tree.Libraries(path); err != nil {
				t.Errorf("image %s: %v", name, err)
			}
		}
		if programs < want {
			t.Errorf("image %s has %d ELF files, want at least %d", name, programs, want)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	_, err := images.Build(t.Context(), images.Config{Cache: t.TempDir(), Only: []string{"pilt"}})
	if err == nil || !strings.Contains(err.Error(), `no image "pilt": there are pilot, proxyv2, install-cni, httpbin, sleep, demoapp`) {
		t.Errorf("Build(only pilt): error %v", err)
	}
	_, err = images.Build(t.Context(), images.Config{Root: t.TempDir(), Cache: t.TempDir(), Only: []string{"demoapp"}})
	if err == nil || !strings.Contains(err.Error(), "compile the programs of the images") {
		t.Errorf("Build in an empty directory: error %v", err)
	}
}

// TestOneBuildAtATime holds the cache's lock: a second build says that it waits and ends when
// its context does.
func TestOneBuildAtATime(t *testing.T) {
	cache := t.TempDir()
	if err := os.MkdirAll(filepath.Join(cache, "images"), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(cache, "images", "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	waiting := writerFunc(func(p []byte) (int, error) {
		if strings.Contains(string(p), "waiting for another build") {
			cancel()
		}
		return len(p), nil
	})
	_, err = images.Build(ctx, images.Config{Cache: cache, Progress: waiting})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Build in a locked cache: error %v, want %v", err, context.Canceled)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestInterruptedWriteIsSwept leaves half a layer behind, as a killed build does.
func TestInterruptedWriteIsSwept(t *testing.T) {
	image(t, "pilot")
	left := filepath.Join(built.dir, "cache", "images", "layers", ".partial-1")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := build(t.Context(), built.dir, images.Config{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there (%v)", left, err)
	}
}
