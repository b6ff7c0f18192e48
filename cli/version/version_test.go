package version

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicemesh/sluice/cli/target"
)

// pod is a running one with a container of this image.
func pod(namespace, name, container, image string) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": "istiod", "istio.io/rev": "default"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: container, Image: image}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
}

// TestText prints what runs in a mesh of two versions, short and long.
func TestText(t *testing.T) {
	native := pod("default", "c", "app", "app:1")
	native.Spec.InitContainers = []corev1.Container{{Name: "istio-proxy", Image: "hub/proxyv2:1.1"}}
	pending := pod("default", "d", "istio-proxy", "hub/proxyv2:0.1")
	pending.Status.Phase = corev1.PodPending
	v := versions{Client: info{Version: "1.2"}}
	for _, p := range []corev1.Pod{
		pod("istio-system", "istiod-1", "discovery", "hub:5000/pilot:1.1"),
		pod("other", "istiod-1", "discovery", "hub/pilot:0.2"),
		pod("default", "a", "istio-proxy", "hub/proxyv2:1.0"), pod("default", "b", "istio-proxy", "hub/proxyv2:1.1"),
		native, pending,
	} {
		v.add(p, "istio-system")
	}
	for _, tc := range []struct {
		short bool
		want  string
	}{
		{true, `client version: 1.2
control plane version: 1.1
data plane version: 1.0 (1 proxies), 1.1 (2 proxies)
`},
		{false, `client version: 1.2
control plane version: 1.1
data plane version: 1.0 (1 proxies), 1.1 (2 proxies)
control plane pilot (revision default): 1.1
proxy a.default: 1.0
proxy b.default: 1.1
proxy c.default: 1.1
`},
	} {
		var out bytes.Buffer
		o := options{short: tc.short, remote: true}
		if err := o.print(&target.Target{Out: &out, IstioNamespace: "istio-system"}, v, true); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, out.String()); diff != "" {
			t.Errorf("text, short %t (-want +got):\n%s", tc.short, diff)
		}
	}
}

func TestTag(t *testing.T) {
	for image, want := range map[string]string{
		"ghcr.io/sluicemesh/pilot:1.2":         "1.2",
		"hub:5000/pilot":                       "latest",
		"hub:5000/pilot@sha256:ab":             "sha256:ab",
		"hub/pilot:1.2@sha256:ab":              "1.2",
		"pilot":                                "latest",
		"ghcr.io/sluicemesh/pilot:dev-0a1b2c3": "dev-0a1b2c3",
	} {
		if got := tag(image); got != want {
			t.Errorf("tag(%q) = %q; want %q", image, got, want)
		}
	}
}
