package cache

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Remove deletes a tree, first taking off whatever is still mounted in it: an interrupted debootstrap leaves /proc and
// /sys of the host mounted there, which must not be walked into. A missing tree is no error.
func Remove(dir string) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // no such file where the host is not Linux
		return fmt.Errorf("read mounts: %w", err)
	}
	for _, point := range mountsBelow(mounts, dir) {
		if err := unmount(point); err != nil {
			return fmt.Errorf("unmount %s: %w", point, err)
		}
	}
	return os.RemoveAll(dir)
}

// mountsBelow lists the mount points inside dir, the deepest and last mounted first. mounts has the form of /proc/mounts.
func mountsBelow(mounts []byte, dir string) []string {
	var below []string
	lines := bufio.NewScanner(bytes.NewReader(mounts))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		point := strings.ReplaceAll(fields[1], `\040`, " ")
		if strings.HasPrefix(point, filepath.Clean(dir)+string(filepath.Separator)) {
			below = append([]string{point}, below...)
		}
	}
	return below
}
