package cache

import "golang.org/x/sys/unix"

func unmount(point string) error { return unix.Unmount(point, 0) }
