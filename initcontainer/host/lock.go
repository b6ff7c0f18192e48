package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockName is bound in the namespace's own space of abstract socket names: it needs no file,
// containers of one pod share it and other pods do not, and the kernel frees it however the
// process ends.
const lockName = "@sluice-init"

// ErrBusy is the error of Lock when another run did not end in time.
var ErrBusy = errors.New("another run works in this network namespace")

// Lock keeps other runs out of the network namespace of the calling thread until the result
// is closed. It waits for one that is there, at most for the time given, then the error is
// ErrBusy. Whoever may open a socket in the namespace can hold the lock: it keeps the peace
// between runs, and is no protection.
func Lock(ctx context.Context, wait time.Duration) (io.Closer, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("lock the network namespace: %w", err)
	}
	held := os.NewFile(uintptr(fd), lockName)
	if err := bind(ctx, fd, wait); err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return held, nil
}

// bind tries until the name is free: the kernel does not tell when it becomes so.
func bind(ctx context.Context, fd int, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Bind(fd, &unix.SockaddrUnix{Name: lockName})
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EADDRINUSE):
			return fmt.Errorf("lock the network namespace: %w", err)
		case time.Now().After(deadline):
			return ErrBusy
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
