package webhook

import (
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// nativeMinor is the first minor version of Kubernetes 1 whose kubelet is trusted with
// native sidecars: they are stable from there on.
const nativeMinor = 33

// The modes of native sidecars, as the setting ENABLE_NATIVE_SIDECARS spells them.
const (
	nativeAuto = "auto"
	nativeOn   = "true"
)

// native knows whether pods can get native sidecars. In mode auto it follows the kubelets'
// versions: that of the pod's node where it is known, else the oldest of all.
type native struct {
	mode string

	mu    sync.RWMutex
	minor map[string]int // by node; 0 for a version that is not understood
	old   int            // how many are below nativeMinor
}

func newNative(mode string) *native {
	return &native{mode: mode, minor: map[string]int{}}
}

// supported answers for a pod that may be bound to a node already.
func (n *native) supported(node string) bool {
	if n.mode != nativeAuto {
		return n.mode == nativeOn
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if minor, ok := n.minor[node]; ok && node != "" {
		return minor >= nativeMinor
	}
	return n.old == 0
}

// set records a node's kubelet.
func (n *native) set(node *corev1.Node) {
	minor := minorOf(node.Status.NodeInfo.KubeletVersion)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.remove(node.Name)
	n.minor[node.Name] = minor
	if minor < nativeMinor {
		n.old++
	}
}

// forget removes a node that is gone.
func (n *native) forget(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.remove(name)
}

// remove is forget for callers that hold the lock.
func (n *native) remove(name string) {
	if minor, ok := n.minor[name]; ok && minor < nativeMinor {
		n.old--
	}
	delete(n.minor, name)
}

// minorOf reads "v1.34.2" as 34; any other major version, and what is no version, is 0 and
// counts as too old.
func minorOf(version string) int {
	rest, ok := strings.CutPrefix(version, "v1.")
	if !ok {
		return 0
	}
	digits := rest
	if i := strings.IndexFunc(rest, func(c rune) bool { return c < '0' || c > '9' }); i >= 0 {
		digits = rest[:i]
	}
	minor, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return minor
}

// NativeSidecars answers, for callers without a webhook, as it would: mode is the setting
// ENABLE_NATIVE_SIDECARS, empty for auto, and nodes are the cluster's. The result is asked
// with the name of the pod's node, empty for a pod without one.
func NativeSidecars(mode string, nodes []corev1.Node) func(node string) bool {
	if mode == "" {
		mode = nativeAuto
	}
	n := newNative(mode)
	for i := range nodes {
		n.set(&nodes[i])
	}
	return n.supported
}
