package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/e2e/cluster/cache"
	"github.com/sluicemesh/sluice/e2e/cluster/progress"
)

func engine(t *testing.T) Engine {
	t.Helper()
	return Engine{Store: cache.Store{Root: t.TempDir(), Out: progress.New(nil)}}
}

// A process number alone proves nothing: after a reboot it belongs to any program.
func TestProcess(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pid")
	for _, c := range []struct {
		name, text, program string
		want                bool
	}{
		{"the program", fmt.Sprintf("%d\n", os.Getpid()), filepath.Base(self), true},
		{"another program", fmt.Sprint(os.Getpid()), "dockerd", false},
		{"no such process", "4194999", "dockerd", false},
		{"no number", "x", "dockerd", false},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, got := process(file, c.program); got != c.want {
			t.Errorf("%s: process = %t; want %t", c.name, got, c.want)
		}
	}
	if _, got := process(file+"none", "dockerd"); got {
		t.Error("process of a missing file = true")
	}
}

func TestNoEngineIsOwnWhereNothingListens(t *testing.T) {
	if e := engine(t); e.Own(t.Context()) {
		t.Error("Own = true without an engine")
	}
}

// A cache deep in a tree must not make a socket path that the kernel refuses.
func TestSocketPathIsShort(t *testing.T) {
	e := Engine{Store: cache.Store{Root: "/" + strings.Repeat("a-long-name/", 40)}}
	if n := len(e.socket()); n > 107 {
		t.Errorf("socket path has %d bytes; the kernel takes 107", n)
	}
}

func TestWithhold(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	shared := func() bool {
		flags, err := unix.FcntlInt(file.Fd(), unix.F_GETFD, 0)
		if err != nil {
			t.Fatal(err)
		}
		return flags&unix.FD_CLOEXEC == 0
	}
	if _, err := unix.FcntlInt(file.Fd(), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	restore, err := withhold()
	if err != nil {
		t.Fatal(err)
	}
	if shared() {
		t.Error("a shared descriptor would be inherited by the engine")
	}
	restore()
	if !shared() {
		t.Error("a descriptor is not shared any more afterwards")
	}
}
