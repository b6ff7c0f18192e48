package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
)

// kindContext is how kind names the contexts of its clusters.
const kindContext = "kind-"

// wantsCurrent reports whether the user's own cluster is to be used.
func wantsCurrent() bool { return os.Getenv("CLUSTER") == "current" }

// useCurrent returns the cluster the user's kubeconfig points at, if its API server answers.
func useCurrent(ctx context.Context, config Config) (*Cluster, error) {
	s, err := open(config)
	if err != nil {
		return nil, err
	}
	if files := filepath.SplitList(os.Getenv(clientcmd.RecommendedConfigPathEnvVar)); len(files) > 1 {
		return nil, fmt.Errorf("KUBECONFIG names %d files: name the one of the cluster to use", len(files))
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	merged, err := rules.Load()
	if err != nil {
		return nil, fmt.Errorf("read the current kubeconfig: %w", err)
	}
	if merged.CurrentContext == "" {
		return nil, errors.New("CLUSTER=current, but no kubeconfig with a current context was found: set KUBECONFIG")
	}
	path := rules.GetDefaultFilename()
	found := &Cluster{name: merged.CurrentContext, kubeconfig: path, current: true, session: s}
	address, _ := s.engine.Find(ctx) // only for loading images, and only where the cluster is one of kind
	if err := useEngine(address); err != nil {
		return nil, err
	}
	c, err := client(path)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	if _, err := c.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
		return nil, fmt.Errorf("cluster of context %s (%s) does not answer: %w", found.name, path, err)
	}
	s.out.Say("✓ using the current cluster %s; KUBECONFIG=%s", found.name, path)
	return found, nil
}

// kindName returns the name under which kind knows the user's own cluster.
func (c *Cluster) kindName() (string, error) {
	if !c.current {
		return c.name, nil
	}
	name, isKind := strings.CutPrefix(c.name, kindContext)
	if !isKind {
		return "", fmt.Errorf("context %s is not a kind cluster: push the images to a registry that its nodes pull from, "+
			"or load them with the tool that made it (for example: minikube image load, k3d image import)", c.name)
	}
	return name, nil
}

// Find returns the cluster of that name if it is up; with CLUSTER=current in the environment, the user's own.
func Find(ctx context.Context, config Config) (*Cluster, error) {
	if wantsCurrent() {
		return useCurrent(ctx, config)
	}
	s, err := open(config)
	if err != nil {
		return nil, err
	}
	st, known, err := s.readState(s.config.Name)
	if err != nil {
		return nil, err
	}
	if !known || !st.Ready {
		return nil, fmt.Errorf("cluster %s is not up: run up first", s.config.Name)
	}
	address, _ := s.engine.Find(ctx)
	if err := useEngine(address); err != nil {
		return nil, err
	}
	return s.cluster(st), nil
}
