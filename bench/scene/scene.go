// Package scene is the cluster that figures are taken on: it finds or makes one with the
// mesh in it, and gives the measurements their hands: namespaces with and without injection,
// pods, many services, an Envoy's administration port and a look at the nodes' processes.
//
// It makes nothing outside namespaces of its own and removes those again. It must not measure.
package scene

import (
	"context"
	"fmt"
	"io"
	"os"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sluicemesh/sluice/e2e/cluster"
	"github.com/sluicemesh/sluice/e2e/stage"
)

// DefaultImage is the sample sleep, which Open loads into clusters it makes.
const DefaultImage = "ghcr.io/sluicemesh/sleep:1.0"

// Config says on which cluster.
type Config struct {
	// Kubeconfig is the file that gives access to a cluster with the mesh installed. If it is
	// empty a cluster named Name is made and the mesh installed in it; one that is up is kept.
	Kubeconfig string
	Name       string
	// Image is what pods run: it must have "sleep" and a shell, and be on the nodes already
	// for times to mean anything.
	Image string
	// Log is told what happens, for people.
	Log io.Writer
}

// Scene is a cluster with the mesh in it.
type Scene struct {
	Client kubernetes.Interface
	rest   *rest.Config
	image  string
	log    io.Writer
}

// Open finds or makes the cluster. A second call is quick.
func Open(ctx context.Context, cfg Config) (*Scene, error) {
	path := cfg.Kubeconfig
	if path == "" {
		root, err := os.Getwd()
		if err != nil {
			return nil, fmt.Errorf("find the module: %w", err)
		}
		st, err := stage.Prepare(ctx, stage.Config{Cluster: cluster.Config{Name: cfg.Name}, Root: root, Log: cfg.Log})
		if err != nil {
			return nil, err
		}
		path = st.Kubeconfig
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", path, err)
	}
	config.QPS = -1 // the client's own limit would be measured
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect with kubeconfig %s: %w", path, err)
	}
	fmt.Fprintf(cfg.Log, "figures of the cluster at %s, kubeconfig %s\n", config.Host, path)
	return &Scene{Client: client, rest: config, image: cfg.Image, log: cfg.Log}, nil
}

// Down removes the cluster named name, if Open made it.
func Down(ctx context.Context, name string, log io.Writer) error {
	return cluster.Down(ctx, cluster.Config{Name: name, Log: log})
}

// Say tells people what happens.
func (s *Scene) Say(format string, args ...any) { fmt.Fprintf(s.log, format+"\n", args...) }
