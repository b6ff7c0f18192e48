package cache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/sluicemesh/sluice/e2e/cluster/progress"
)

func TestRoot(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		want string
	}{
		{"own", map[string]string{"SLUICE_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"},
		{"desktop", map[string]string{"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/sluice"},
		{"relative desktop path is ignored", map[string]string{"XDG_CACHE_HOME": "b", "HOME": "/c"}, "/c/.cache/sluice"},
		{"home", map[string]string{"HOME": "/c"}, "/c/.cache/sluice"},
	} {
		got, err := Root(func(name string) string { return c.env[name] })
		if err != nil || got != c.want {
			t.Errorf("%s: Root = %q, %v; want %q", c.name, got, err, c.want)
		}
	}
	if got, err := Root(func(string) string { return "" }); err == nil {
		t.Errorf("Root without environment = %q; want an error", got)
	}
}

func TestKey(t *testing.T) {
	if got, want := Key("a", "bc"), "5310a58788781ab2"; got != want {
		t.Errorf("Key(a, bc) = %s; want %s: entries of earlier versions would be lost", got, want)
	}
	seen := map[string][]string{}
	for _, parts := range [][]string{{"a", "bc"}, {"ab", "c"}, {"abc"}, {"a", "bc", ""}, {""}, {}} {
		key := Key(parts...)
		if other, found := seen[key]; found {
			t.Errorf("Key(%q) = Key(%q)", parts, other)
		}
		seen[key] = parts
	}
}

func store(t *testing.T) (Store, *strings.Builder) {
	t.Helper()
	said := &strings.Builder{}
	return Store{Root: t.TempDir(), Out: progress.New(said)}, said
}

func TestEnsureBuildsOnce(t *testing.T) {
	s, _ := store(t)
	entry := Entry{Name: "part", Key: "k", What: "build part"}
	var mutex sync.Mutex
	built := 0
	build := func(_ context.Context, dir string) error {
		mutex.Lock()
		defer mutex.Unlock()
		built++
		return os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600)
	}
	var group errgroup.Group
	for range 8 {
		group.Go(func() error {
			dir, err := s.Ensure(t.Context(), entry, build)
			if err != nil {
				return err
			}
			_, err = os.Stat(filepath.Join(dir, "file"))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if built != 1 {
		t.Errorf("built %d times; want once", built)
	}
}

func TestInterruptedBuildLeavesNoEntry(t *testing.T) {
	s, _ := store(t)
	entry := Entry{Name: "part", Key: "k", What: "build part"}
	fails := func(_ context.Context, dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "half"), nil, 0o600); err != nil {
			return err
		}
		return errors.New("power cut")
	}
	if _, err := s.Ensure(t.Context(), entry, fails); err == nil || !strings.Contains(err.Error(), "build part: power cut") {
		t.Fatalf("Ensure = %v; want the failure of the build", err)
	}
	if s.Has(entry) {
		t.Error("a failed build left an entry")
	}
	dir, err := s.Ensure(t.Context(), entry, func(context.Context, string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("entry holds %v, %v; want nothing of the interrupted build", left, err)
	}
}

func TestLockWaitsAndSaysSo(t *testing.T) {
	s, said := store(t)
	release, err := s.Lock(t.Context(), "thing")
	if err != nil {
		t.Fatal(err)
	}
	if held, err := s.Held("thing"); err != nil || !held {
		t.Errorf("Held = %t, %v; want true", held, err)
	}
	waiting, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Lock(waiting, "thing"); !errors.Is(err, context.Canceled) {
		t.Errorf("Lock of a held lock with an ended context = %v; want context.Canceled", err)
	}
	if want := "  another run is working on thing: waiting for it\n"; said.String() != want {
		t.Errorf("said %q; want %q", said, want)
	}
	release()
	if held, err := s.Held("thing"); err != nil || held {
		t.Errorf("Held after release = %t, %v; want false", held, err)
	}
	again, err := s.Lock(t.Context(), "thing")
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestMountsBelow(t *testing.T) {
	mounts := "proc /proc proc rw 0 0\nproc /c/a.partial/root/proc proc rw 0 0\nsys /c/a.partial/root/proc/sys sysfs rw 0 0\n" +
		"tmp /c/a.partial2/x tmpfs rw 0 0\nx /c/a.partial/with\\040space ext4 rw 0 0\nbroken\n"
	want := []string{"/c/a.partial/with space", "/c/a.partial/root/proc/sys", "/c/a.partial/root/proc"}
	if diff := cmp.Diff(want, mountsBelow([]byte(mounts), "/c/a.partial/")); diff != "" {
		t.Errorf("mountsBelow (-want +got):\n%s", diff)
	}
}
