package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll is how often a waiting run looks whether a lock is free.
const lockPoll = 200 * time.Millisecond

// Lock takes the named lock of this cache, waiting for whoever holds it and saying so.
//
// The lock ends with release, or with this process and every process it started meanwhile: when a run is killed, the next one waits
// until the programs it left behind (a docker run, a package installation) have ended too, and finds what they made.
func (s Store) Lock(ctx context.Context, name string) (release func(), err error) {
	path := s.lockPath(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make lock directory: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := s.acquire(ctx, file, name); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), file.Close())
	}
	// Unlocking frees the lock for the children too; closing alone would leave it with those that still run. An error of
	// either cannot be acted on.
	return func() {
		_ = unix.Flock(int(file.Fd()), unix.LOCK_UN)
		_ = file.Close()
	}, nil
}

func (s Store) acquire(ctx context.Context, file *os.File, name string) error {
	said := false
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			_, err = unix.FcntlInt(file.Fd(), unix.F_SETFD, 0) // children inherit it
			return err
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if !said {
			s.Out.Say("  another run is working on %s: waiting for it", name)
			said = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// Held reports whether some process, this one too, holds the named lock now.
func (s Store) Held(name string) (bool, error) {
	file, err := os.Open(s.lockPath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open lock: %w", err)
	}
	defer file.Close()
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
		return false, fmt.Errorf("probe lock %s: %w", name, err)
	}
	return err != nil, nil
}

func (s Store) lockPath(name string) string { return filepath.Join(s.Root, "locks", name) }
