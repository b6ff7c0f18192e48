package cluster

import (
	"context"
	"fmt"
	"strings"
)

// Status describes one cluster of ours, for people.
type Status struct {
	Name       string
	Spec       string // nodes and family: "2 nodes, dual"
	Image      string // node image
	Health     string // "ready", or what is wrong
	Addresses  string // ranges of the load balancer's addresses
	Kubeconfig string // file
}

// List describes every cluster of ours, by name. Only Config.Log is used.
func List(ctx context.Context, config Config) ([]Status, error) {
	s, err := open(Config{Log: config.Log})
	if err != nil {
		return nil, err
	}
	states, err := s.states()
	if err != nil {
		return nil, err
	}
	_, engine := s.engine.Find(ctx)
	var list []Status
	for _, st := range states {
		var ranges []string
		for _, each := range st.poolRanges() {
			ranges = append(ranges, each.String())
		}
		health := "ready"
		if !st.Ready {
			health = "half made: run up again"
		} else if !engine {
			health = "no Docker engine is running: run up again"
		} else if err := healthy(ctx, st.Kubeconfig, st.Nodes); err != nil {
			health = err.Error()
		}
		list = append(list, Status{
			Name: st.Name, Spec: fmt.Sprintf("%d nodes, %s", st.Nodes, st.IPFamily), Image: st.Image, Health: health,
			Addresses: strings.Join(ranges, " "), Kubeconfig: st.Kubeconfig,
		})
	}
	return list, nil
}
