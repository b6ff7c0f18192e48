package cert

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sluicemesh/sluice/agent/backoff"
	"github.com/sluicemesh/sluice/agent/bootstrap"
)

// dataLink leads to the directory of the current files, generation begins its name, and
// temporary ends the name of what is about to take its place.
const (
	dataLink   = "..data"
	generation = "..certs-"
	temporary  = ".new"
)

// Files keeps copies of the current certificate in a directory for programs that read
// files: key.pem, cert-chain.pem and root-cert.pem. All three change at once, because they
// are links through one link that is replaced.
type Files struct {
	Dir  string
	Mode fs.FileMode // of each file
	Log  *slog.Logger

	written atomic.Bool
}

// Written reports whether the files hold a certificate of this process.
func (f *Files) Written() bool { return f.written.Load() }

// Run writes each certificate of src until ctx is done and returns nil then. What cannot
// be written is tried again 1 s to 60 s later; the files before it stay.
func (f *Files) Run(ctx context.Context, src *Source) error {
	wait := &backoff.Backoff{Min: time.Second, Max: time.Minute}
	for {
		c, changed := src.Current()
		if c != nil {
			if err := f.write(c); err != nil {
				f.Log.Warn("certificate files not written, retrying", "error", err)
				if !wait.Sleep(ctx) {
					return nil
				}
				continue
			}
			wait.Reset()
			f.written.Store(true)
			f.Log.Info("certificate files written", "directory", f.Dir, "until", c.NotAfter)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// write puts c into a directory of its own and makes it the current one.
func (f *Files) write(c *Certificate) error {
	files := map[string][]byte{bootstrap.KeyFile: c.Key, bootstrap.ChainFile: c.Chain, bootstrap.RootFile: c.Roots}
	dir, err := f.generate(files)
	if err != nil {
		return fmt.Errorf("write certificate files: %w", err)
	}
	if err := link(filepath.Base(dir), filepath.Join(f.Dir, dataLink)); err != nil {
		return errors.Join(fmt.Errorf("replace certificate files: %w", err), os.RemoveAll(dir))
	}
	for name := range files {
		if err := link(filepath.Join(dataLink, name), filepath.Join(f.Dir, name)); err != nil {
			return fmt.Errorf("replace certificate files: %w", err)
		}
	}
	if err := f.clean(filepath.Base(dir)); err != nil {
		f.Log.Warn("certificate files of before not removed", "error", err)
	}
	return nil
}

// generate writes files into a new directory and returns it; nothing is left of a failure.
func (f *Files) generate(files map[string][]byte) (dir string, err error) {
	if err := os.MkdirAll(f.Dir, 0o755); err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp(f.Dir, generation); err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, f.Mode); err != nil {
			return "", err
		}
		if err := os.Chmod(path, f.Mode); err != nil { // whatever the umask
			return "", err
		}
	}
	if f.Mode&0o044 != 0 { // who may read the files must be able to enter their directory
		err = os.Chmod(dir, 0o755)
	}
	return dir, err
}

// link makes path a symbolic link to target, in one step whatever was there.
func link(target, path string) error {
	if have, err := os.Readlink(path); err == nil && have == target {
		return nil
	}
	if err := os.Remove(path + temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, path+temporary); err != nil {
		return err
	}
	return os.Rename(path+temporary, path)
}

// clean removes the generations but the current one, also those of a process before.
func (f *Files) clean(current string) error {
	entries, err := os.ReadDir(f.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), generation) && e.Name() != current {
			if err := os.RemoveAll(filepath.Join(f.Dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
