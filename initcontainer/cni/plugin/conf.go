package plugin

import (
	"encoding/json"
	"slices"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/sluicemesh/sluice/initcontainer/cni/pod"
)

// Type is the name of the plug-in: of its program, and of its entry in configurations.
const Type = "istio-cni"

// annotationsKey is the capability by which a runtime hands over a pod's annotations.
// containerd and CRI-O have it.
const annotationsKey = "io.kubernetes.cri.pod-annotations"

// Settings are what the installer decides for all pods of a node.
type Settings struct {
	LogLevel       string     `json:"log_level"`                       // debug, info, warn, error or none
	LogSocket      string     `json:"log_socket,omitempty"`            // where log lines go beside standard error, "" for nowhere
	NativeNftables bool       `json:"native_nftables"`                 // rules are written over netlink, without any program
	Flavour        string     `json:"force_iptables_binary,omitempty"` // nft or legacy; "" to detect it
	Kubernetes     Kubernetes `json:"kubernetes"`
}

// Kubernetes says how the API server is asked, and about which pods not.
type Kubernetes struct {
	Kubeconfig        string   `json:"kubeconfig"` // path on the node
	ExcludeNamespaces []string `json:"exclude_namespaces"`
}

// Conf is the plug-in's entry in a network configuration, as the runtime hands it over.
type Conf struct {
	types.PluginConf
	Settings
	Runtime struct {
		// Annotations are the pod's; nil from a runtime that does not hand them over.
		Annotations map[string]string `json:"io.kubernetes.cri.pod-annotations"`
	} `json:"runtimeConfig"`
}

// Entry writes s as an entry for a list of plug-ins.
func Entry(s Settings) ([]byte, error) {
	return json.Marshal(struct {
		Type         string          `json:"type"`
		Capabilities map[string]bool `json:"capabilities"`
		Settings
	}{Type, map[string]bool{annotationsKey: true}, s})
}

// Standalone writes s as a network of its own, which other programs call by its name.
func Standalone(s Settings) ([]byte, error) {
	text, err := json.MarshalIndent(struct {
		Version string `json:"cniVersion"`
		Name    string `json:"name"`
		Type    string `json:"type"`
		Settings
	}{"0.3.1", Type, Type, s}, "", "  ")
	return append(text, '\n'), err
}

// skip says why a sandbox is left alone without asking the API server, "" if it is not.
func (c Conf) skip(a Args) string {
	switch {
	case a.Name == "" || a.Namespace == "":
		return "it is no pod of Kubernetes"
	case slices.Contains(c.Kubernetes.ExcludeNamespaces, a.Namespace):
		return "its namespace is excluded"
	case c.Runtime.Annotations != nil && !pod.Injected(c.Runtime.Annotations):
		return "it is not injected"
	}
	return ""
}
