package inject

import (
	"fmt"
	"os"
	"path/filepath"
)

// save writes a file in one step: whoever reads it sees the old content or the new one, and
// after an error it is as it was.
func save(name string, text []byte) (err error) {
	// A device or a pipe is written to, not replaced.
	if info, statErr := os.Stat(name); statErr == nil && !info.Mode().IsRegular() {
		if err := os.WriteFile(name, text, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		return nil
	}
	if real, linkErr := filepath.EvalSymlinks(name); linkErr == nil {
		name = real // the link stays one
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", name, err)
		}
	}()
	if _, err = f.Write(text); err != nil {
		_ = f.Close()
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if info, statErr := os.Stat(name); statErr == nil {
		mode = info.Mode().Perm()
	}
	if err = os.Chmod(f.Name(), mode); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
