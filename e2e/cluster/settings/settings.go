// Package settings renders the kind configuration of a cluster.
//
// It is pure: what the cluster shall be and what the host is like come in as values, kind's own configuration type goes out.
package settings

import (
	"fmt"
	"net/netip"
	"strings"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

// Family is the address family of pods and services.
type Family string

// The families. Dual lists IPv4 first.
const (
	IPv4 Family = "ipv4"
	IPv6 Family = "ipv6"
	Dual Family = "dual"
)

// ParseFamily reads a family as users write it.
func ParseFamily(text string) (Family, error) {
	switch f := Family(text); f {
	case IPv4, IPv6, Dual:
		return f, nil
	}
	return "", fmt.Errorf("ip family %q: use ipv4, ipv6 or dual", text)
}

// Has4 reports whether pods have IPv4 addresses.
func (f Family) Has4() bool { return f != IPv6 }

// Has6 reports whether pods have IPv6 addresses.
func (f Family) Has6() bool { return f != IPv4 }

// Cluster is what a cluster shall be, on what host.
type Cluster struct {
	Nodes       int    // at least 1: a control plane that also runs workloads, and workers
	Family      Family // of pods and services
	Built       bool   // the node image is our own: no network of kind's, other versions of etcd and CoreDNS
	EtcdTag     string // of the image in a built node image
	CoreDNSTag  string // likewise
	CgroupV1    bool   // the host has the old control groups, which kubelet refuses unless told
	NoOOMAdjust bool   // the host lacks CAP_SYS_RESOURCE: scores below the parent's cannot be set
}

// Pods returns the pod ranges of the whole cluster, one per family.
func (c Cluster) Pods() []netip.Prefix {
	var ranges []netip.Prefix
	if c.Family.Has4() {
		ranges = append(ranges, netip.MustParsePrefix("10.244.0.0/16"))
	}
	if c.Family.Has6() {
		ranges = append(ranges, netip.MustParsePrefix("fd00:10:244::/56"))
	}
	return ranges
}

// Kind renders the configuration.
func (c Cluster) Kind() *v1alpha4.Cluster {
	var pods []string
	for _, each := range c.Pods() {
		pods = append(pods, each.String())
	}
	config := &v1alpha4.Cluster{
		TypeMeta: v1alpha4.TypeMeta{Kind: "Cluster", APIVersion: "kind.x-k8s.io/v1alpha4"},
		Networking: v1alpha4.Networking{
			IPFamily: v1alpha4.ClusterIPFamily(c.Family), PodSubnet: strings.Join(pods, ","), DisableDefaultCNI: c.Built,
		},
		KubeadmConfigPatches: c.kubeadm(),
	}
	if c.NoOOMAdjust {
		config.ContainerdConfigPatches = []string{
			"[plugins.\"io.containerd.grpc.v1.cri\"]\n  restrict_oom_score_adj = true\n",
		}
	}
	for i := range c.Nodes {
		role := v1alpha4.WorkerRole
		if i == 0 {
			role = v1alpha4.ControlPlaneRole
		}
		config.Nodes = append(config.Nodes, v1alpha4.Node{Role: role})
	}
	return config
}

func (c Cluster) kubeadm() []string {
	var patches []string
	if c.Nodes > 1 {
		// The control plane runs workloads too. A lone one must be made with its taint: kind takes it off, and fails if it cannot.
		patches = append(patches, "kind: InitConfiguration\nnodeRegistration:\n  taints: []\n")
	}
	if c.CgroupV1 {
		patches = append(patches, "kind: KubeletConfiguration\nfailCgroupV1: false\n")
	}
	if c.Built {
		patches = append(patches, fmt.Sprintf(
			"kind: ClusterConfiguration\ndns:\n  imageTag: %q\netcd:\n  local:\n    imageTag: %q\n", c.CoreDNSTag, c.EtcdTag))
	}
	return patches
}
