package params

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/wrapperspb"
	networking "istio.io/api/networking/v1beta1"
	typev1beta1 "istio.io/api/type/v1beta1"
	networkingv1beta1 "istio.io/client-go/pkg/apis/networking/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicemesh/sluice/internal/meshconfig"
)

// object is a ProxyConfig made on a day of January.
func object(namespace, name string, day int, spec *networking.ProxyConfig) *networkingv1beta1.ProxyConfig {
	out := &networkingv1beta1.ProxyConfig{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, CreationTimestamp: metav1.NewTime(time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC)),
	}}
	out.Spec.Selector, out.Spec.Concurrency = spec.Selector, spec.Concurrency
	out.Spec.EnvironmentVariables, out.Spec.Image = spec.EnvironmentVariables, spec.Image
	return out
}

func selecting(key, value string) *typev1beta1.WorkloadSelector {
	return &typev1beta1.WorkloadSelector{MatchLabels: map[string]string{key: value}}
}

func TestIndexProxyConfigsProblems(t *testing.T) {
	workers := func(n int32) *networking.ProxyConfig {
		return &networking.ProxyConfig{Concurrency: wrapperspb.Int32(n)}
	}
	index, problems := IndexProxyConfigs([]*networkingv1beta1.ProxyConfig{
		object("shop", "second", 2, workers(2)),
		object("shop", "first", 1, workers(1)),
		object("shop", "negative", 3, workers(-1)),
		object("stock", "names", 1, &networking.ProxyConfig{EnvironmentVariables: map[string]string{"A=B": "1", "": "2"}}),
		object("stock", "image", 2, &networking.ProxyConfig{Selector: selecting("app", "x"), Image: &networking.ProxyImage{ImageType: "a/b"}}),
		object("stock", "empty-selector", 3, &networking.ProxyConfig{Selector: &typev1beta1.WorkloadSelector{}}),
	}, "istio-system")
	var got []string
	for _, p := range problems {
		got = append(got, p.String())
	}
	want := []string{
		`ProxyConfig.networking.istio.io stock/names: spec.environmentVariables: "" is not the name of an environment variable [InvalidProxyConfig]`,
		`ProxyConfig.networking.istio.io stock/names: spec.environmentVariables: "A=B" is not the name of an environment variable [InvalidProxyConfig]`,
		"ProxyConfig.networking.istio.io shop/second: spec.selector: ProxyConfig.networking.istio.io shop/first is older and holds for the namespace: add a selector, or remove one of the two [NoEffect]",
		`ProxyConfig.networking.istio.io stock/image: spec.image.imageType: "a/b" is not the end of an image tag, write distroless, debug or default [InvalidProxyConfig]`,
		"ProxyConfig.networking.istio.io shop/negative: spec.concurrency: -1 is less than 0 [InvalidProxyConfig]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if below := index.below("shop"); len(below) != 1 || below[0].Concurrency.GetValue() != 1 {
		t.Errorf("below = %v", below)
	}
	if index, problems := IndexProxyConfigs(nil, "istio-system"); index != nil || problems != nil {
		t.Errorf("of nothing: %v, %v", index, problems)
	}
}

// TestLayers: the six layers, each of which names one more of the settings above it.
func TestLayers(t *testing.T) {
	mesh, _, err := meshconfig.Parse("{rootNamespace: root, defaultConfig: {proxyMetadata: {A: mesh, B: mesh, C: mesh, D: mesh, E: mesh}}}")
	if err != nil {
		t.Fatal(err)
	}
	values, err := ParseValues("", "1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	d, err := Prepare(mesh, values, Install{})
	if err != nil {
		t.Fatal(err)
	}
	index, problems := IndexProxyConfigs([]*networkingv1beta1.ProxyConfig{
		object("root", "mesh", 1, &networking.ProxyConfig{EnvironmentVariables: map[string]string{"B": "root", "C": "root", "D": "root", "E": "root"}}),
		object("shop", "all", 1, &networking.ProxyConfig{EnvironmentVariables: map[string]string{"C": "shop", "D": "shop", "E": "shop"}}),
		object("shop", "web", 1, &networking.ProxyConfig{Selector: selecting("app", "web"), EnvironmentVariables: map[string]string{"E": "web"}}),
	}, "root")
	if problems != nil {
		t.Fatal(problems)
	}
	in := Input{
		Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Name: "web", Labels: map[string]string{"app": "web"},
			Annotations: map[string]string{"proxy.istio.io/config": "proxyMetadata: {D: pod, E: pod}"},
		}},
		Namespace: "shop", Defaults: d, ProxyConfigs: index,
	}
	p, problems := Resolve(in)
	if problems != nil {
		t.Fatal(problems)
	}
	want := map[string]string{"A": "mesh", "B": "root", "C": "shop", "D": "pod", "E": "web"}
	if diff := cmp.Diff(want, p.Mesh.Metadata); diff != "" {
		t.Error(diff)
	}
	if p.Mesh.ProxyConfigOverride != `{"proxyMetadata":{"E":"web"}}` {
		t.Errorf("override = %s", p.Mesh.ProxyConfigOverride)
	}
	in.Namespace = "stock" // the root namespace's alone
	p, _ = Resolve(in)
	want = map[string]string{"A": "mesh", "B": "root", "C": "root", "D": "pod", "E": "pod"}
	if diff := cmp.Diff(want, p.Mesh.Metadata); diff != "" || p.Mesh.ProxyConfigOverride != "" {
		t.Error(diff, p.Mesh.ProxyConfigOverride)
	}
}
