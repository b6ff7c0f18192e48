package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sluicemesh/sluice/e2e/cluster/settings"
)

// state is what is remembered of a cluster, in the cache. It is written before anything else of the cluster is made, so that an
// interrupted run is known to have happened.
type state struct {
	Name       string          `json:"name"`
	Nodes      int             `json:"nodes"`
	IPFamily   settings.Family `json:"ipFamily"`
	Image      string          `json:"image"`
	Built      bool            `json:"built"`      // the image is ours: pod networking is ours too
	Kubeconfig string          `json:"kubeconfig"` // file
	Pool       int             `json:"pool"`       // number of the load balancer's pool
	Ready      bool            `json:"ready"`      // false: making it was interrupted
}

func (s session) clustersDir() string           { return filepath.Join(s.store.Root, "clusters") }
func (s session) clusterDir(name string) string { return filepath.Join(s.clustersDir(), name) }
func (s session) statePath(name string) string {
	return filepath.Join(s.clusterDir(name), "state.json")
}
func (s session) defaultKubeconfig() string {
	return filepath.Join(s.clusterDir(s.config.Name), "kubeconfig")
}
func (st state) cluster() settings.Cluster {
	return settings.Cluster{Nodes: st.Nodes, Family: st.IPFamily, Built: st.Built}
}

// readState returns what is remembered of a cluster; found is false when nothing is.
func (s session) readState(name string) (st state, found bool, err error) {
	text, err := os.ReadFile(s.statePath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, false, nil
	}
	if err != nil {
		return state{}, false, fmt.Errorf("read cluster state: %w", err)
	}
	if err := json.Unmarshal(text, &st); err != nil {
		return state{}, false, fmt.Errorf("read cluster state %s: %w", s.statePath(name), err)
	}
	return st, true, nil
}

func (s session) writeState(st state) error {
	text, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return fmt.Errorf("encode cluster state: %w", err)
	}
	if err := os.MkdirAll(s.clusterDir(st.Name), 0o755); err != nil {
		return fmt.Errorf("make cluster directory: %w", err)
	}
	partial := s.statePath(st.Name) + ".partial"
	if err := os.WriteFile(partial, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write cluster state: %w", err)
	}
	if err := os.Rename(partial, s.statePath(st.Name)); err != nil {
		return fmt.Errorf("write cluster state: %w", err)
	}
	return nil
}

// states lists every cluster that is remembered, by name.
func (s session) states() ([]state, error) {
	entries, err := os.ReadDir(s.clustersDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list clusters: %w", err)
	}
	var list []state
	for _, entry := range entries {
		st, found, err := s.readState(entry.Name())
		if err != nil {
			return nil, err
		}
		if found {
			list = append(list, st)
		}
	}
	return list, nil
}
