package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/kind/pkg/cluster/nodes"
	"sigs.k8s.io/kind/pkg/cluster/nodeutils"

	"github.com/sluicemesh/sluice/e2e/cluster/balancer"
	"github.com/sluicemesh/sluice/e2e/cluster/podnet"
	"github.com/sluicemesh/sluice/e2e/cluster/proc"
)

// unit runs the balancer on the control plane node: as a service of the node it needs no image and lives as long as the cluster.
const unit = `[Unit]
Description=addresses for Services of type LoadBalancer
After=network.target

[Service]
ExecStart=/usr/local/bin/sluice-balancer -kubeconfig=/etc/kubernetes/admin.conf -pool=%s
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
`

// connect sets up pod networking on the nodes of a built image and the host's route to load balancer addresses. It can be
// run again.
func (s session) connect(ctx context.Context, st state) error {
	if err := tuneDNS(ctx, st); err != nil {
		return err
	}
	described, err := waitPodRanges(ctx, st)
	if err != nil {
		return err
	}
	if st.Built {
		kindNodes, err := s.provider().ListInternalNodes(st.Name)
		if err != nil {
			return fmt.Errorf("list nodes: %w", err)
		}
		for _, node := range kindNodes {
			if err := configure(node, described, st); err != nil {
				return fmt.Errorf("connect node %s: %w", node, err)
			}
		}
	}
	return s.routeHost(ctx, st, described)
}

// configure writes one node's network configuration and runs its script.
func configure(node nodes.Node, all []podnet.Node, st state) error {
	i := slices.IndexFunc(all, func(n podnet.Node) bool { return n.Name == node.String() })
	if i < 0 {
		return errors.New("kind made the node but the API server does not know it")
	}
	conflist, err := podnet.Conflist(all[i])
	if err != nil {
		return err
	}
	script := podnet.Script(all[i], all, st.cluster().Pods())
	// The script first: with the file the node turns ready, and pods start.
	if err := node.Command("sh", "-c", script).Run(); err != nil {
		return fmt.Errorf("set routes: %w", err)
	}
	if err := nodeutils.WriteFile(node, podnet.File, string(conflist)); err != nil {
		return fmt.Errorf("write network configuration: %w", err)
	}
	return nil
}

// describe turns a node of the API server into what podnet needs.
func describe(node *corev1.Node) (podnet.Node, error) {
	described := podnet.Node{Name: node.Name}
	for _, text := range node.Spec.PodCIDRs {
		pods, err := netip.ParsePrefix(text)
		if err != nil {
			return podnet.Node{}, fmt.Errorf("node %s: parse pod range: %w", node.Name, err)
		}
		described.Pods = append(described.Pods, pods)
	}
	for _, address := range node.Status.Addresses {
		if address.Type != corev1.NodeInternalIP {
			continue
		}
		parsed, err := netip.ParseAddr(address.Address)
		if err != nil {
			return podnet.Node{}, fmt.Errorf("node %s: parse address: %w", node.Name, err)
		}
		described.Addresses = append(described.Addresses, parsed)
	}
	return described, nil
}

// installBalancer puts the controller on the control plane node and starts it.
func (s session) installBalancer(ctx context.Context, st state, program string) error {
	list, err := s.provider().ListInternalNodes(st.Name)
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	controlPlanes, err := nodeutils.ControlPlaneNodes(list)
	if err != nil || len(controlPlanes) == 0 {
		return fmt.Errorf("find the control plane: %d nodes, %w", len(controlPlanes), err)
	}
	node := controlPlanes[0]
	if _, err := proc.Output(ctx, "docker", "cp", program, node.String()+":/usr/local/bin/sluice-balancer"); err != nil {
		return fmt.Errorf("copy balancer: %w", err)
	}
	var ranges []string
	for _, each := range st.poolRanges() {
		ranges = append(ranges, each.String())
	}
	text := fmt.Sprintf(unit, strings.Join(ranges, ","))
	if err := nodeutils.WriteFile(node, "/etc/systemd/system/sluice-balancer.service", text); err != nil {
		return fmt.Errorf("write balancer's unit: %w", err)
	}
	if err := node.Command("systemctl", "enable", "--now", "--quiet", "sluice-balancer").Run(); err != nil {
		return fmt.Errorf("start balancer: %w", err)
	}
	return nil
}

// poolRanges are the load balancer's address ranges in the families of the cluster.
func (st state) poolRanges() []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(allRanges(st.Pool)), func(p netip.Prefix) bool {
		return p.Addr().Is4() && !st.IPFamily.Has4() || p.Addr().Is6() && !st.IPFamily.Has6()
	})
}

func allRanges(pool int) []netip.Prefix {
	ranges := balancer.PoolRanges(pool)
	return ranges[:]
}

// routeHost makes the pool reachable from this host, over the control plane node.
func (s session) routeHost(ctx context.Context, st state, all []podnet.Node) error {
	i := slices.IndexFunc(all, func(n podnet.Node) bool { return n.Name == st.Name+"-control-plane" })
	if i < 0 {
		return errors.New("the control plane node is missing")
	}
	for _, pool := range st.poolRanges() {
		for _, address := range all[i].Addresses {
			if address.Is4() != pool.Addr().Is4() {
				continue
			}
			err := ipOnHost(ctx, st.Image, "route", "replace", pool.String(), "via", address.String())
			if err != nil {
				return fmt.Errorf("route load balancer addresses: %w", err)
			}
		}
	}
	return nil
}

// unroute takes the routes of a pool away. Routes that are not there are no error.
func unroute(ctx context.Context, st state) error {
	for _, pool := range st.poolRanges() {
		routes, err := routesTo(ctx, pool)
		if err != nil {
			return err
		}
		if routes == "" {
			continue
		}
		if err := ipOnHost(ctx, st.Image, "route", "del", pool.String()); err != nil {
			return fmt.Errorf("remove route: %w", err)
		}
	}
	return nil
}

// routesTo lists what the host's routing table has inside a range. Reading it needs no rights.
func routesTo(ctx context.Context, pool netip.Prefix) (string, error) {
	if !proc.Has("ip") {
		return "", nil // not Linux: the engine lives in a virtual machine, and so do the routes
	}
	family := "-4"
	if pool.Addr().Is6() {
		family = "-6"
	}
	return proc.Output(ctx, "ip", family, "route", "show", "root", pool.String())
}

// ipOnHost runs ip in the network namespace of the host: directly as root, else in a container of the node image, which members of
// the docker group may start.
func ipOnHost(ctx context.Context, image string, args ...string) error {
	command := append([]string{"ip"}, args...)
	if os.Geteuid() != 0 {
		command = append([]string{
			"docker", "run", "--rm", "--network", "host", "--cap-add", "NET_ADMIN", "--entrypoint", "ip", image,
		}, args...)
	}
	_, err := proc.Output(ctx, command...)
	return err
}

// freePool finds a pool that no cluster of ours has and no route of this host overlaps.
func freePool(ctx context.Context, others []state) (int, error) {
	for n := range balancer.Pools {
		if slices.ContainsFunc(others, func(other state) bool { return other.Pool == n }) {
			continue
		}
		var used string
		for _, pool := range allRanges(n) {
			routes, err := routesTo(ctx, pool)
			if err != nil {
				return 0, fmt.Errorf("look for a free address pool: %w", err)
			}
			used += routes
		}
		if used == "" {
			return n, nil
		}
	}
	return 0, fmt.Errorf("all %d address pools are in use: remove routes or clusters", balancer.Pools)
}
