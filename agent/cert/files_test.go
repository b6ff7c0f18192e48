package cert

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

func readAll(t *testing.T, dir string) string {
	t.Helper()
	var out []string
	for _, name := range []string{"key.pem", "cert-chain.pem", "root-cert.pem"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(data))
	}
	return strings.Join(out, " ")
}

func TestFilesAreReplacedAtOnce(t *testing.T) {
	for _, c := range []struct {
		name            string
		mode, directory fs.FileMode
	}{
		{"owner only", 0o600, 0o700},
		{"for the containers of a pod", 0o644, 0o755},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "certs")
			if err := os.MkdirAll(filepath.Join(dir, "..certs-of-a-process-before"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "key.pem"), []byte("a plain file of another agent"), 0o600); err != nil {
				t.Fatal(err)
			}
			f := &Files{Dir: dir, Mode: c.mode, Log: slog.New(slog.DiscardHandler)}
			if err := f.write(&Certificate{Key: []byte("k1"), Chain: []byte("c1"), Roots: []byte("r1")}); err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, dir); got != "k1 c1 r1" {
				t.Errorf("first files = %q", got)
			}
			if err := f.write(&Certificate{Key: []byte("k2"), Chain: []byte("c2"), Roots: []byte("r2")}); err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, dir); got != "k2 c2 r2" {
				t.Errorf("second files = %q", got)
			}
			for path, want := range map[string]fs.FileMode{"key.pem": c.mode, "cert-chain.pem": c.mode, "root-cert.pem": c.mode, "..data": c.directory} {
				info, err := os.Stat(filepath.Join(dir, path))
				if err != nil {
					t.Fatal(err)
				}
				if info.Mode().Perm() != want {
					t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
				}
			}
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(entries) != 5 { // three names, the link and the current directory
				t.Errorf("left in the directory: %v", entries)
			}
		})
	}
}

func TestFilesFollowTheSource(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	dir, src := t.TempDir(), &Source{}
	f := &Files{Dir: dir, Mode: 0o600, Log: slog.New(slog.DiscardHandler)}
	if f.Written() {
		t.Error("written before the first certificate")
	}
	var g errgroup.Group
	g.Go(func() error { return f.Run(ctx, src) })
	for _, text := range []string{"a", "b"} {
		src.set(&Certificate{Key: []byte(text), Chain: []byte(text), Roots: []byte(text)})
		for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
			data, err := os.ReadFile(filepath.Join(dir, "root-cert.pem"))
			if err == nil && string(data) == text && f.Written() {
				tick.Stop()
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("files = %q %v, want %q", data, err, text)
			}
		}
	}
	cancel()
	if err := g.Wait(); err != nil {
		t.Errorf("Run = %v", err)
	}
}
