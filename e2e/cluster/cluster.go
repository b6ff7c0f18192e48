// Package cluster gives the scenarios a real Kubernetes cluster: kind, through its Go library.
//
// Where an image registry is at hand kind's node image is pulled; where not, Docker is installed and started and the image is
// built from package registries (package nodeimage). A Config comes in; a cluster with working network, DNS and load balancer
// addresses, and the path of its kubeconfig, go out. It must not touch clusters, engines, routes or kubeconfigs it did not make.
// The environment read: CLUSTER (see Up), SLUICE_CACHE, XDG_CACHE_HOME, HOME, DOCKER_HOST; the last is also set, for kind.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/kind/pkg/cluster"

	"github.com/sluicemesh/sluice/e2e/cluster/cache"
	"github.com/sluicemesh/sluice/e2e/cluster/daemon"
	"github.com/sluicemesh/sluice/e2e/cluster/host"
	"github.com/sluicemesh/sluice/e2e/cluster/nodeimage"
	"github.com/sluicemesh/sluice/e2e/cluster/progress"
	"github.com/sluicemesh/sluice/e2e/cluster/settings"
)

// NodeImage says where the node image comes from.
type NodeImage string

// The sources. Auto pulls kind's own image where it can be had and builds one where not.
const (
	Pull  NodeImage = "pull"
	Build NodeImage = "build"
	Auto  NodeImage = "auto"
)

// DefaultName is the name of the cluster used when none is given.
const DefaultName = "sluice"

// Config says what cluster is wanted. The zero value is one node, IPv4, named DefaultName, from whatever image can be had.
type Config struct {
	Name       string          // lower-case DNS label; default DefaultName
	Nodes      int             // 1 control plane that also runs workloads, and Nodes-1 workers; default 1
	IPFamily   settings.Family // of pods and services; default IPv4
	NodeImage  NodeImage       // default Auto
	Kubeconfig string          // file to write access to; default a file in the cache; an existing file is merged into
	Log        io.Writer       // progress, for people; nil discards it
}

// Cluster is a running cluster.
type Cluster struct {
	name       string
	kubeconfig string
	current    bool // the user's own: nothing in it or around it is ours
	session    session
}

// Name returns the cluster's name; for the user's own cluster the name of its context.
func (c *Cluster) Name() string { return c.name }

// Kubeconfig returns the path of a file that gives administrator's access.
func (c *Cluster) Kubeconfig() string { return c.kubeconfig }

// session is what every operation works with.
type session struct {
	config  Config
	out     *progress.Printer
	store   cache.Store
	engine  daemon.Engine
	builder nodeimage.Builder
}

// maxName keeps the names of nodes, which end in -control-plane or -worker10, below the 63 characters of a host name.
const maxName = 40

// open checks the configuration, fills in defaults and finds cache and module.
func open(config Config) (session, error) {
	if config.Name == "" {
		config.Name = DefaultName
	}
	if config.Nodes == 0 {
		config.Nodes = 1
	}
	if config.IPFamily == "" {
		config.IPFamily = settings.IPv4
	}
	if config.NodeImage == "" {
		config.NodeImage = Auto
	}
	if err := config.check(); err != nil {
		return session{}, err
	}
	root, err := cache.Root(os.Getenv)
	if err != nil {
		return session{}, err
	}
	module := moduleDir()
	out := progress.New(config.Log)
	s := session{config: config, out: out, store: cache.Store{Root: root, Out: out}}
	packages := host.Local(out)
	s.engine = daemon.Engine{Store: s.store, Packages: packages, Module: module}
	s.builder = nodeimage.Builder{Store: s.store, Packages: packages, Module: module}
	return s, nil
}

func (c Config) check() error {
	switch {
	case len(c.Name) > maxName || len(validation.IsDNS1123Label(c.Name)) > 0:
		return fmt.Errorf("cluster name %q: use at most %d lower-case letters, digits and dashes", c.Name, maxName)
	case c.Nodes < 1 || c.Nodes > 16:
		return fmt.Errorf("%d nodes: use 1 to 16", c.Nodes)
	case c.NodeImage != Pull && c.NodeImage != Build && c.NodeImage != Auto:
		return fmt.Errorf("node image %q: use pull, build or auto", c.NodeImage)
	}
	_, err := settings.ParseFamily(string(c.IPFamily))
	return err
}

// moduleDir finds the directory of this module above the working directory: what runs in and beside nodes is built from it.
// Elsewhere it is empty; see buildable.
func moduleDir() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "e2e", "cluster", "node", "kubernetes", "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

// buildable returns nil where parts can be built. Clusters that are there are used and removed from anywhere.
func (s session) buildable() error {
	if s.builder.Module == "" {
		return errors.New("run this inside a checkout of sluice: parts have to be built from it")
	}
	return nil
}

// provider drives kind with the engine that DOCKER_HOST names.
func (s session) provider() *cluster.Provider {
	return cluster.NewProvider(cluster.ProviderWithDocker(), cluster.ProviderWithLogger(kindLog{s.out}))
}

// useEngine points the docker client, and with it kind, at an engine. kind knows no other way than the environment.
func useEngine(address string) error {
	if address == "" {
		return nil
	}
	return os.Setenv("DOCKER_HOST", address)
}

// lock keeps other runs from working on this cluster at the same time.
func (s session) lock(ctx context.Context) (release func(), err error) {
	return s.store.Lock(ctx, lockName(s.config.Name))
}

func lockName(cluster string) string { return "cluster-" + cluster }
