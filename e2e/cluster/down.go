package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/sluicemesh/sluice/e2e/cluster/proc"
)

// kindNetwork is the name kind gives to its network in the Docker engine.
const kindNetwork = "kind"

// Down removes the cluster and everything made for it: containers, routes, state, and with the last cluster the network and our
// own Docker engine. What is dear to make stays in the cache. A cluster that is not there is no error. With CLUSTER=current in the
// environment nothing is removed: that cluster is the user's.
func Down(ctx context.Context, config Config) error {
	s, err := open(config)
	if err != nil {
		return err
	}
	if wantsCurrent() {
		s.out.Say("✓ the current cluster stays as it is")
		return nil
	}
	what := "remove cluster " + s.config.Name
	if err := s.out.Step(ctx, what, s.take); err != nil {
		return fmt.Errorf("cluster %s: %w", s.config.Name, err)
	}
	if err := s.leave(ctx); err != nil {
		return fmt.Errorf("clean up after the last cluster: %w", err)
	}
	return nil
}

// take removes the cluster under its lock.
func (s session) take(ctx context.Context) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	_, known, err := s.readState(s.config.Name)
	if err != nil {
		return err
	}
	address, found := s.engine.Find(ctx)
	if !found && !known {
		return nil
	}
	if !found { // started for this: the cluster's containers would come back with the engine's next start
		if address, err = s.engine.Ensure(ctx); err != nil {
			return err
		}
	}
	if err := useEngine(address); err != nil {
		return err
	}
	return s.remove(ctx)
}

// remove deletes the cluster's routes, containers and state, as far as they are there.
func (s session) remove(ctx context.Context) error {
	st, known, err := s.readState(s.config.Name)
	if err != nil {
		return err
	}
	kubeconfig := s.defaultKubeconfig()
	if known {
		kubeconfig = st.Kubeconfig
		if err := unroute(ctx, st); err != nil {
			return err
		}
	}
	existing, err := s.provider().List()
	if err != nil {
		return fmt.Errorf("list kind clusters: %w", err)
	}
	if slices.Contains(existing, s.config.Name) {
		if !known {
			return fmt.Errorf("a kind cluster of that name exists that was not made here: use another --name, or delete it with kind")
		}
		if err := s.provider().Delete(s.config.Name, kubeconfig); err != nil {
			return fmt.Errorf("delete kind cluster: %w", err)
		}
	}
	if err := os.RemoveAll(s.clusterDir(s.config.Name)); err != nil {
		return fmt.Errorf("remove cluster state: %w", err)
	}
	return nil
}

// leave takes away what all clusters share, if none is left: the network, and our engine. The caller has given its cluster's lock
// back; whoever makes or removes a cluster holds one, so that of two runs ending at once the later cleans up.
func (s session) leave(ctx context.Context) error {
	unlock, err := s.store.Lock(ctx, "docker")
	if err != nil {
		return err
	}
	defer unlock()
	busy, err := s.busy()
	if err != nil || busy {
		return err
	}
	if _, found := s.engine.Find(ctx); found {
		left, err := s.provider().List()
		if err != nil {
			return fmt.Errorf("list kind clusters: %w", err)
		}
		if len(left) > 0 {
			return nil
		}
		if err := s.removeNetwork(ctx); err != nil {
			return err
		}
	}
	if !s.engine.Own(ctx) {
		return nil
	}
	return s.out.Step(ctx, "stop the Docker engine", s.engine.Stop)
}

// busy reports whether another run is working on some cluster.
func (s session) busy() (bool, error) {
	locks, err := filepath.Glob(filepath.Join(s.store.Root, "locks", lockName("*")))
	if err != nil {
		return false, fmt.Errorf("list locks: %w", err)
	}
	for _, lock := range locks {
		held, err := s.store.Held(filepath.Base(lock))
		if err != nil || held {
			return held, err
		}
	}
	return false, nil
}

// networkMark is a file that says that the engine's network for kind was made by us, and is ours to remove.
func (s session) networkMark() string { return filepath.Join(s.store.Root, "network") }

// noteNetwork leaves the mark when kind is about to make its network.
func (s session) noteNetwork(ctx context.Context) error {
	if networkExists(ctx) {
		return nil
	}
	if err := os.WriteFile(s.networkMark(), nil, 0o600); err != nil {
		return fmt.Errorf("mark network: %w", err)
	}
	return nil
}

func (s session) removeNetwork(ctx context.Context) error {
	if _, err := os.Stat(s.networkMark()); err != nil {
		return nil // it was there before us
	}
	if networkExists(ctx) {
		if _, err := proc.Output(ctx, "docker", "network", "rm", kindNetwork); err != nil {
			return fmt.Errorf("remove network: %w", err)
		}
	}
	if err := os.Remove(s.networkMark()); err != nil {
		return fmt.Errorf("remove network's mark: %w", err)
	}
	return nil
}

func networkExists(ctx context.Context) bool {
	_, err := proc.Output(ctx, "docker", "network", "inspect", "--format", "{{.Id}}", kindNetwork)
	return err == nil
}
