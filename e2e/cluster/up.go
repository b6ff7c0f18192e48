package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	kind "sigs.k8s.io/kind/pkg/cluster"

	"github.com/sluicemesh/sluice/e2e/cluster/capability"
	"github.com/sluicemesh/sluice/e2e/cluster/nodeimage"
	"github.com/sluicemesh/sluice/e2e/cluster/proc"
	"github.com/sluicemesh/sluice/e2e/cluster/progress"
)

// Up makes the cluster, or finds it made, and returns once its nodes are ready and its DNS answers. A cluster that an interrupted
// run left half made, or that no longer answers, is made anew. One of that name with other properties is an error, not a change.
// With CLUSTER=current in the environment it makes nothing and returns the cluster of the KUBECONFIG at hand, if that answers.
// Several runs at once are safe; those for the same name go one after another.
func Up(ctx context.Context, config Config) (*Cluster, error) {
	if wantsCurrent() {
		return useCurrent(ctx, config)
	}
	s, err := open(config)
	if err != nil {
		return nil, err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	st, found, err := s.readState(s.config.Name)
	if err != nil {
		return nil, err
	}
	if found {
		reused, err := s.reuse(ctx, st)
		if err != nil {
			return nil, err
		}
		if reused {
			return s.cluster(st), nil
		}
	}
	start := time.Now()
	st, err = s.create(ctx)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", s.config.Name, err)
	}
	s.out.Say("✓ cluster %s is up after %s; KUBECONFIG=%s", st.Name, progress.Elapsed(time.Since(start)), st.Kubeconfig)
	return s.cluster(st), nil
}

func (s session) cluster(st state) *Cluster {
	return &Cluster{name: st.Name, kubeconfig: st.Kubeconfig, session: s}
}

// reuse reports whether the remembered cluster runs and is what is wanted.
func (s session) reuse(ctx context.Context, st state) (bool, error) {
	if !st.Ready {
		return false, nil
	}
	address, err := s.engine.Ensure(ctx)
	if err != nil {
		return false, err
	}
	if err := useEngine(address); err != nil {
		return false, err
	}
	if err := s.answers(ctx, st); err != nil {
		s.out.Say("  cluster %s does not answer (%v): making it anew", st.Name, err)
		return false, nil
	}
	if st.Nodes != s.config.Nodes || st.IPFamily != s.config.IPFamily {
		return false, fmt.Errorf("cluster %s is up with --nodes %d --ip-family %s, not --nodes %d --ip-family %s: "+
			"take it down first, or use another --name", st.Name, st.Nodes, st.IPFamily, s.config.Nodes, s.config.IPFamily)
	}
	// The engine may have been restarted since: nodes come back without their routes, the host without its own.
	if err := s.connect(ctx, st); err != nil {
		return false, fmt.Errorf("cluster %s: %w", st.Name, err)
	}
	if wanted := s.config.Kubeconfig; wanted != "" && wanted != st.Kubeconfig {
		if err := s.provider().ExportKubeConfig(st.Name, wanted, false); err != nil {
			return false, fmt.Errorf("write kubeconfig: %w", err)
		}
		st.Kubeconfig = wanted
		if err := s.writeState(st); err != nil {
			return false, err
		}
	}
	s.out.Say("✓ cluster %s is up already; KUBECONFIG=%s", st.Name, st.Kubeconfig)
	return true, nil
}

// answers returns nil when the cluster is healthy. Its nodes start again with their engine, after a reboot for example; they are
// given time for that.
func (s session) answers(ctx context.Context, st state) error {
	err := healthy(ctx, st.Kubeconfig, st.Nodes)
	if err == nil {
		return nil
	}
	running, inspectErr := proc.Output(ctx, "docker", "inspect", "--format", "{{.State.Running}}", st.Name+"-control-plane")
	if inspectErr != nil || running != "true" {
		return err
	}
	return s.out.Step(ctx, "wait for cluster "+st.Name+" to come back", func(ctx context.Context) error {
		return poll(ctx, comeBackTimeout, func(ctx context.Context) error { return healthy(ctx, st.Kubeconfig, st.Nodes) })
	})
}

// create makes the cluster from nothing.
func (s session) create(ctx context.Context) (state, error) {
	if err := s.buildable(); err != nil {
		return state{}, err
	}
	address, err := s.engine.Ensure(ctx)
	if err != nil {
		return state{}, err
	}
	if err := useEngine(address); err != nil {
		return state{}, err
	}
	st, err := s.begin(ctx)
	if err != nil {
		return state{}, err
	}
	balancer, err := s.parts(ctx, &st)
	if err != nil {
		return state{}, err
	}
	err = s.out.Step(ctx, "create cluster "+st.Name, func(context.Context) error { return s.createKind(st) })
	if err != nil {
		return state{}, err
	}
	err = s.out.Step(ctx, "connect pods, nodes and host", func(ctx context.Context) error {
		if err := s.connect(ctx, st); err != nil {
			return err
		}
		return s.installBalancer(ctx, st, balancer)
	})
	if err != nil {
		return state{}, err
	}
	err = s.out.Step(ctx, "wait for nodes and DNS", func(ctx context.Context) error { return waitReady(ctx, st) })
	if err != nil {
		return state{}, err
	}
	st.Ready = true
	return st, s.writeState(st)
}

// parts makes what the cluster is made of, notes its image and returns the load balancer's program.
func (s session) parts(ctx context.Context, st *state) (balancer string, err error) {
	group, building := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		balancer, err = s.buildBalancer(building)
		return err
	})
	group.Go(func() (err error) {
		st.Image, st.Built, err = s.nodeImage(building)
		return err
	})
	if err := group.Wait(); err != nil {
		return "", err
	}
	return balancer, s.writeState(*st)
}

// begin removes what is left of an earlier cluster of this name and remembers that a new one is on its way.
func (s session) begin(ctx context.Context) (state, error) {
	if err := s.remove(ctx); err != nil {
		return state{}, err
	}
	st := state{
		Name: s.config.Name, Nodes: s.config.Nodes, IPFamily: s.config.IPFamily, Kubeconfig: s.config.Kubeconfig,
	}
	if st.Kubeconfig == "" {
		st.Kubeconfig = s.defaultKubeconfig()
	}
	unlock, err := s.store.Lock(ctx, "clusters") // pools are dealt out one at a time
	if err != nil {
		return state{}, err
	}
	defer unlock()
	others, err := s.states()
	if err != nil {
		return state{}, err
	}
	if err := s.noteNetwork(ctx); err != nil {
		return state{}, err
	}
	st.Pool, err = freePool(ctx, others)
	if err != nil {
		return state{}, err
	}
	return st, s.writeState(st)
}

// createKind has kind make the containers and run kubeadm in them.
func (s session) createKind(st state) error {
	missing, err := capability.OfHost()
	if err != nil {
		return fmt.Errorf("find missing capabilities: %w", err)
	}
	wanted := st.cluster()
	wanted.EtcdTag, wanted.CoreDNSTag = nodeimage.EtcdTag, nodeimage.CoreDNSTag
	wanted.CgroupV1 = cgroupV1()
	wanted.NoOOMAdjust = slices.Contains(missing, "CAP_SYS_RESOURCE")
	err = s.provider().Create(
		st.Name, kind.CreateWithV1Alpha4Config(wanted.Kind()), kind.CreateWithNodeImage(st.Image),
		kind.CreateWithKubeconfigPath(st.Kubeconfig), kind.CreateWithDisplayUsage(false), kind.CreateWithDisplaySalutation(false),
	)
	if err != nil {
		return fmt.Errorf("kind: %w", err)
	}
	return nil
}
