// Package podnet says how pods of a node built here reach each other and the world.
//
// Every node gets a CNI configuration of standard plugins (ptp, host-local, portmap), a route to the pods of each other node
// over that node's address, and one masquerade rule per family for what leaves the pod network. It is pure: nodes come in as
// values, a configuration file and a shell script go out; who runs them is the caller's matter.
package podnet

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
)

// File is where the configuration goes on a node.
const File = "/etc/cni/net.d/10-sluice.conflist"

// Node is what the network has to know of one node.
type Node struct {
	Name      string
	Addresses []netip.Addr   // at most one per family
	Pods      []netip.Prefix // its pods' ranges, one per family of the cluster
}

type conflist struct {
	Version string   `json:"cniVersion"`
	Name    string   `json:"name"`
	Plugins []plugin `json:"plugins"`
}

type plugin struct {
	Type         string          `json:"type"`
	IPMasq       *bool           `json:"ipMasq,omitempty"`
	IPAM         *ipam           `json:"ipam,omitempty"`
	Capabilities map[string]bool `json:"capabilities,omitempty"`
}

type ipam struct {
	Type    string       `json:"type"`
	DataDir string       `json:"dataDir"`
	Routes  []route      `json:"routes"`
	Ranges  [][]subnetOf `json:"ranges"`
}

type route struct {
	Destination string `json:"dst"`
}

type subnetOf struct {
	Subnet netip.Prefix `json:"subnet"`
}

// Conflist renders the node's CNI configuration. A node without pod ranges is an error: the controller that gives them out has
// not come to it yet.
func Conflist(node Node) ([]byte, error) {
	if len(node.Pods) == 0 {
		return nil, fmt.Errorf("node %s has no pod range", node.Name)
	}
	// ptp's own masquerading would also hide a pod's address from the pods of other nodes.
	masquerade := false
	// Leases are kept in memory: after a restart of the node no pod of before is left.
	addresses := ipam{Type: "host-local", DataDir: "/run/cni-ipam-state"}
	for _, pods := range node.Pods {
		everything := "0.0.0.0/0"
		if pods.Addr().Is6() {
			everything = "::/0"
		}
		addresses.Routes = append(addresses.Routes, route{Destination: everything})
		addresses.Ranges = append(addresses.Ranges, []subnetOf{{Subnet: pods}})
	}
	text, err := json.MarshalIndent(conflist{
		Version: "0.3.1", Name: "sluice",
		Plugins: []plugin{
			{Type: "ptp", IPMasq: &masquerade, IPAM: &addresses},
			{Type: "portmap", Capabilities: map[string]bool{"portMappings": true}},
		},
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode network of node %s: %w", node.Name, err)
	}
	return append(text, '\n'), nil
}

// Script renders what self runs to reach the pods of its peers and to let its own reach the world. cluster holds the pod ranges of
// the whole cluster, one per family. Running it again changes nothing. A peer without an address in a family gets no route in it.
func Script(self Node, peers []Node, cluster []netip.Prefix) string {
	var script strings.Builder
	script.WriteString("set -eu\n")
	for _, peer := range peers {
		for _, pods := range peer.Pods {
			via, found := address(peer, pods.Addr().Is4())
			if peer.Name != self.Name && found {
				fmt.Fprintf(&script, "ip route replace %s via %s\n", pods, via)
			}
		}
	}
	for _, pods := range self.Pods {
		for _, all := range cluster {
			if all.Addr().Is4() != pods.Addr().Is4() {
				continue
			}
			program := "iptables"
			if pods.Addr().Is6() {
				program = "ip6tables"
			}
			rule := fmt.Sprintf("POSTROUTING -s %s ! -d %s -m comment --comment sluice-pods-out -j MASQUERADE", pods, all)
			fmt.Fprintf(&script, "%s -w -t nat -C %s 2>/dev/null || %s -w -t nat -A %s\n", program, rule, program, rule)
		}
	}
	return script.String()
}

func address(node Node, v4 bool) (netip.Addr, bool) {
	for _, each := range node.Addresses {
		if each.Is4() == v4 {
			return each, true
		}
	}
	return netip.Addr{}, false
}
