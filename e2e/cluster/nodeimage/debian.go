package nodeimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/sluicemesh/sluice/e2e/cluster/cache"
	"github.com/sluicemesh/sluice/e2e/cluster/proc"
)

// Files of the Debian cache entry.
const (
	rootTar     = "root.tar"     // the whole root file system, without what no node needs
	iptablesTar = "iptables.tar" // iptables and the libraries it needs: the base of the kube-proxy image
)

// unneeded are left out of the root file system. Patterns are tar's.
func unneeded() []string {
	return []string{
		"./dev/*", "./proc/*", "./sys/*", "./run/*", "./tmp/*", "./var/cache/*", "./var/lib/apt/lists/*", "./var/log/*",
		"./usr/share/doc/*", "./usr/share/man/*", "./usr/share/info/*", "./usr/share/locale/*", "./usr/share/lintian/*",
		"./usr/lib/udev/hwdb.d/*", "./usr/lib/udev/hwdb.bin",
		// What kind's Dockerfile removes: units that make no sense in a container or would fight with the host.
		"./usr/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
		"./usr/lib/systemd/system/multi-user.target.wants/*", "./etc/systemd/system/*.wants/*",
		"./usr/lib/systemd/system/local-fs.target.wants/*", "./usr/lib/systemd/system/sockets.target.wants/*udev*",
		"./usr/lib/systemd/system/sockets.target.wants/*initctl*", "./usr/lib/systemd/system/basic.target.wants/*",
	}
}

func debianEntry() cache.Entry {
	key := cache.Key(append([]string{"1", suite, runtime.GOARCH}, append(packages(), unneeded()...)...)...)
	return cache.Entry{Name: "debian", Key: key, What: "build a root file system of Debian " + suite}
}

// debian returns the directory with rootTar and iptablesTar.
func (b Builder) debian(ctx context.Context) (string, error) {
	entry := debianEntry()
	if b.Store.Has(entry) {
		return b.Store.Dir(entry), nil
	}
	if !b.Packages.Root {
		return "", fmt.Errorf("building a node image needs root (debootstrap): run this as root, or where kind's image can be pulled")
	}
	if err := b.Packages.Need(ctx, "debootstrap", "tar"); err != nil {
		return "", err
	}
	return b.Store.Ensure(ctx, entry, b.bootstrap)
}

// bootstrap fills a cache entry. Packages are kept beside it until then, so that an interrupted run does not fetch them again.
func (b Builder) bootstrap(ctx context.Context, dir string) error {
	root, archives := filepath.Join(dir, "root"), filepath.Join(b.Store.Root, "debian", "archives")
	if err := os.MkdirAll(archives, 0o755); err != nil {
		return fmt.Errorf("make package cache: %w", err)
	}
	err := proc.Run(ctx, proc.Command{Args: []string{
		"debootstrap", "--variant=minbase", "--cache-dir=" + archives, "--include=" + strings.Join(packages(), ","), suite, root,
	}})
	if err != nil {
		return err
	}
	args := []string{"tar", "-C", root, "--numeric-owner", "--sort=name", "-cf", filepath.Join(dir, rootTar)}
	for _, pattern := range unneeded() {
		args = append(args, "--exclude="+pattern)
	}
	if err := proc.Run(ctx, proc.Command{Args: append(args, ".")}); err != nil {
		return err
	}
	if err := iptablesLayer(root, filepath.Join(dir, iptablesTar)); err != nil {
		return fmt.Errorf("collect iptables: %w", err)
	}
	if err := cache.Remove(archives); err != nil {
		return err
	}
	return cache.Remove(root)
}
