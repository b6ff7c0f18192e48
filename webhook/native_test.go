package webhook

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func node(name, version string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{KubeletVersion: version}},
	}
}

func TestNativeFollowsNodes(t *testing.T) {
	n := newNative("auto")
	check := func(step, of string, want bool) {
		t.Helper()
		if got := n.supported(of); got != want {
			t.Errorf("%s: supported(%q) = %v; want %v", step, of, got, want)
		}
	}
	check("no nodes", "", true)
	n.set(node("a", "v1.34.2"))
	check("one new node", "", true)
	n.set(node("b", "v1.32.9"))
	check("an old node", "", false)
	check("an old node, bound to the new one", "a", true)
	check("bound to the old one", "b", false)
	check("bound to an unknown one", "c", false)
	n.set(node("b", "v1.33.0-rc.1+abc"))
	check("upgraded", "", true)
	n.set(node("b", "nonsense"))
	check("not understood", "", false)
	n.forget("b")
	n.forget("b")
	check("gone", "", true)
}

func TestNativeModes(t *testing.T) {
	for mode, want := range map[string]bool{"true": true, "false": false, "maybe": false} {
		if got := newNative(mode).supported(""); got != want {
			t.Errorf("mode %q: supported = %v; want %v", mode, got, want)
		}
	}
}

func TestMinorOf(t *testing.T) {
	for version, want := range map[string]int{"v1.33.1": 33, "v1.34": 34, "v1.33+": 33, "1.33.1": 0, "v2.1.0": 0, "v1.x": 0, "": 0} {
		if got := minorOf(version); got != want {
			t.Errorf("minorOf(%q) = %d; want %d", version, got, want)
		}
	}
}
