package manifests

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestRenderAsHelm renders the charts as a user of Helm would, with nothing set but what is
// in the row, and looks at one field.
func TestRenderAsHelm(t *testing.T) {
	for _, tc := range []struct {
		name    string
		release Release
		object  string
		field   []string
		want    string
	}{
		{"the control plane's image is the chart's version", Release{Chart: Istiod, Name: "istiod", Namespace: "istio-system"},
			"Deployment/istiod", []string{"metadata", "labels", "release"}, "istiod"},
		{"a gateway is called like its release", Release{Chart: Gateway, Name: "edge", Namespace: "edge"},
			"Deployment/edge", []string{"spec", "selector", "matchLabels", "app"}, "edge"},
		{"without the prefix in the label istio", Release{Chart: Gateway, Name: "istio-edge", Namespace: "edge"},
			"Service/istio-edge", []string{"spec", "selector", "istio"}, "edge"},
		{"its account is called like it", Release{Chart: Gateway, Name: "edge", Namespace: "edge"},
			"Deployment/edge", []string{"spec", "template", "spec", "serviceAccountName"}, "edge"},
		{"its revision is on the pod", Release{Chart: Gateway, Name: "edge", Namespace: "edge", Values: map[string]any{"revision": "canary"}},
			"Deployment/edge", []string{"spec", "template", "metadata", "labels", "istio.io/rev"}, "canary"},
		{"the default revision is not", Release{Chart: Gateway, Name: "edge", Namespace: "edge", Values: map[string]any{"revision": "default"}},
			"Deployment/edge", []string{"spec", "template", "metadata", "labels", "istio.io/rev"}, ""},
		{"the revision named default has no suffix", Release{Chart: Istiod, Name: "istiod", Namespace: "istio-system", Values: map[string]any{"revision": "default"}},
			"Service/istiod", []string{"spec", "selector", "istio"}, "pilot"},
		{"templates reach the injector as they are", Release{Chart: Istiod, Name: "istiod", Namespace: "istio-system", Values: map[string]any{
			"sidecarInjectorWebhook": map[string]any{
				"templates":        map[string]any{"custom": "metadata:\n  labels: {team: \"{{ .Revision }}\"}\n"},
				"defaultTemplates": []any{"sidecar", "custom"}, "aliases": map[string]any{"both": []any{"sidecar", "custom"}},
			}}},
			"ConfigMap/istio-sidecar-injector", []string{"data", "config"}, `policy: enabled
alwaysInjectSelector:
  []
neverInjectSelector:
  []
defaultTemplates:
  - sidecar
  - custom
aliases:
  both:
  - sidecar
  - custom
templates:
  custom: |
    metadata:
      labels: {team: "{{ .Revision }}"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			objects, err := Render(tc.release)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range objects {
				if o.GetKind()+"/"+o.GetName() != tc.object {
					continue
				}
				got, _, err := unstructured.NestedString(o.Object, tc.field...)
				if err != nil || got != tc.want {
					t.Errorf("%s of %s = %q, %v; want %q", strings.Join(tc.field, "."), tc.object, got, err, tc.want)
				}
				return
			}
			t.Errorf("no %s among the objects", tc.object)
		})
	}
}

// TestRenderRefuses checks what a chart does not take.
func TestRenderRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		release Release
		want    string
	}{
		"a name nothing reads": {Release{Chart: Istiod, Values: map[string]any{"pilot": map[string]any{"replicas": 1}}}, "'replicas'"},
		"a scalar for a map":   {Release{Chart: Gateway, Values: map[string]any{"service": "NodePort"}}, "/service"},
		"a name for an address": {Release{Chart: Istiod, Values: map[string]any{
			"global": map[string]any{"remotePilotAddress": "istiod.example.com"}, "istiodRemote": map[string]any{"enabled": true},
		}}, "must be an IP address"},
		"a chart that is not there": {Release{Chart: "ztunnel"}, "ztunnel"},
		"ambient mode":              {Release{Chart: CNI, Values: map[string]any{"ambient": map[string]any{"enabled": true}}}, "ambient mode is not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Render(tc.release)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Render: %v; want an error with %q", err, tc.want)
			}
		})
	}
}

// TestExcludedDefinitions leaves out what somebody else manages.
func TestExcludedDefinitions(t *testing.T) {
	objects, err := Render(Release{Chart: Base, Values: map[string]any{
		"base": map[string]any{"excludedCRDs": []any{"gateways.networking.istio.io"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(objects) != 14 {
		t.Errorf("%d definitions; want 14 of 15", len(objects))
	}
	for _, o := range objects {
		if o.GetName() == "gateways.networking.istio.io" {
			t.Error("the excluded definition is there")
		}
	}
}
