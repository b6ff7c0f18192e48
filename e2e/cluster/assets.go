package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Assets returns a directory with kube-apiserver, etcd, kubectl and kubeadm of the version clusters are built from, making it if
// need be. It needs neither Docker nor root nor a cluster. Only Config.Log is used.
func Assets(ctx context.Context, config Config) (string, error) {
	s, err := open(Config{Log: config.Log})
	if err != nil {
		return "", err
	}
	if err := s.buildable(); err != nil {
		return "", err
	}
	return s.builder.Assets(ctx)
}

// Kubectl runs kubectl against the cluster, on this process's terminal: the one on PATH where the node image was pulled, since
// nothing else was built there, else the one of the cluster's version.
func (c *Cluster) Kubectl(ctx context.Context, args []string) error {
	program := "kubectl"
	if st, known, err := c.session.readState(c.name); err != nil {
		return err
	} else if known && st.Built {
		dir, err := c.session.builder.Assets(ctx)
		if err != nil {
			return err
		}
		program = filepath.Join(dir, "kubectl")
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("kubectl: %w", err)
	}
	return nil
}
