package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/kind/pkg/cluster/nodes"
	"sigs.k8s.io/kind/pkg/cluster/nodeutils"
	"sigs.k8s.io/kind/pkg/exec"

	"github.com/sluicemesh/sluice/e2e/cluster/archive"
	"github.com/sluicemesh/sluice/e2e/cluster/progress"
)

// Load puts the images of the archives (OCI layouts or docker archives, as tar files) on every node, side by side. A node that
// already has an archive's images, by digest, is skipped.
func (c *Cluster) Load(ctx context.Context, archives ...string) error {
	name, err := c.kindName()
	if err != nil {
		return err
	}
	list, err := c.session.provider().ListInternalNodes(name)
	if err != nil {
		return fmt.Errorf("list nodes of cluster %s: %w", name, err)
	}
	if len(list) == 0 {
		return fmt.Errorf("cluster %s has no nodes that this Docker engine knows", name)
	}
	for _, file := range archives {
		images, err := archive.Read(file)
		if err != nil {
			return fmt.Errorf("read image archive %s: %w", file, err)
		}
		group, _ := errgroup.WithContext(ctx)
		for _, node := range list {
			group.Go(func() error { return c.loadNode(node, file, images) })
		}
		if err := group.Wait(); err != nil {
			return fmt.Errorf("load %s: %w", file, err)
		}
	}
	return nil
}

// loadNode loads one archive into one node, unless its images are there.
func (c *Cluster) loadNode(node nodes.Node, file string, images []archive.Image) error {
	lines, err := exec.OutputLines(node.Command("ctr", "--namespace=k8s.io", "images", "list"))
	if err != nil {
		return fmt.Errorf("list images of node %s: %w", node, err)
	}
	base := filepath.Base(file)
	if archive.Held(images, stored(lines)) {
		c.session.out.Say("✓ %s is on %s already", base, node)
		return nil
	}
	start := time.Now()
	in, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("open image archive: %w", err)
	}
	defer in.Close()
	if err := nodeutils.LoadImageArchive(node, in); err != nil {
		return fmt.Errorf("node %s: %w", node, err)
	}
	c.session.out.Say("✓ %s → %s: %s", base, node, progress.Elapsed(time.Since(start)))
	return nil
}

// stored reads ctr's table of images: name, type, digest, …
func stored(lines []string) map[string]string {
	digests := map[string]string{}
	for _, line := range lines {
		if fields := strings.Fields(line); len(fields) > 2 {
			digests[fields[0]] = fields[2]
		}
	}
	return digests
}
