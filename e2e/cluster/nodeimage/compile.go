package nodeimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/sluicemesh/sluice/e2e/cluster/cache"
	"github.com/sluicemesh/sluice/e2e/cluster/proc"
)

// compiled maps a module's folder name to the directory its binaries are in.
type compiled map[string]string

// compile builds what is not in the cache of the named modules; none named means all.
func (b Builder) compile(ctx context.Context, modules ...string) (compiled, error) {
	dirs := compiled{}
	for _, p := range programs() {
		if len(modules) > 0 && !slices.Contains(modules, p.module) {
			continue
		}
		entry, err := b.entry(p)
		if err != nil {
			return nil, err
		}
		dirs[p.module], err = b.Store.Ensure(ctx, entry, func(ctx context.Context, dir string) error {
			return b.goBuild(ctx, p, dir)
		})
		if err != nil {
			return nil, err
		}
	}
	return dirs, nil
}

// goBuild builds all tools of a module into dir. The environment is cleared of what would make the result depend on the
// machine; an interrupted build continues from Go's own cache.
func (b Builder) goBuild(ctx context.Context, p program, dir string) error {
	args := []string{
		"go", "build", "-C", b.folder(p), "-trimpath", "-buildvcs=false", "-tags", p.tags,
		"-ldflags", "-s -w " + p.ldflags, "-o", dir + string(filepath.Separator), "tool",
	}
	env := []string{"CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=", "GOWORK=off"}
	if err := proc.Run(ctx, proc.Command{Args: args, Env: env}); err != nil {
		return err
	}
	for from, to := range p.rename {
		if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
			return fmt.Errorf("name %s: %w", to, err)
		}
	}
	return nil
}

// Assets returns a directory with kube-apiserver, etcd, kubectl and kubeadm, built if need be: what envtest
// calls KUBEBUILDER_ASSETS. It needs no Docker and no root.
func (b Builder) Assets(ctx context.Context) (string, error) {
	built, err := b.compile(ctx, "kubernetes", "etcd")
	if err != nil {
		return "", err
	}
	entry := assetsEntry(built)
	return b.Store.Ensure(ctx, entry, func(_ context.Context, dir string) error {
		for _, each := range [][2]string{
			{"kubernetes", "kube-apiserver"}, {"kubernetes", "kubectl"}, {"kubernetes", "kubeadm"}, {"etcd", "etcd"},
		} {
			// Hard links: the parts are read only and in the same cache, so a copy would only cost room.
			if err := os.Link(filepath.Join(built[each[0]], each[1]), filepath.Join(dir, each[1])); err != nil {
				return fmt.Errorf("link asset: %w", err)
			}
		}
		return nil
	})
}

func assetsEntry(built compiled) cache.Entry {
	key := cache.Key(built["kubernetes"], built["etcd"])
	return cache.Entry{Name: "assets", Key: key, What: "collect kube-apiserver, etcd and kubectl"}
}
