package webhook

import (
	"strings"
	"testing"
)

// TestSettingsRefused: what cannot be used is named, nothing is dropped silently.
func TestSettingsRefused(t *testing.T) {
	tests := []struct {
		name string
		src  Source
		want string
	}{
		{"mesh", Source{Mesh: "nonsense: 1"}, `unknown field "nonsense"`},
		{"status port", Source{Mesh: "defaultConfig: {statusPort: 70000}"}, "defaultConfig.statusPort 70000 is not a port"},
		{"values", Source{Values: "{"}, "parse values"},
		{"value type", Source{Values: `{"global":{"proxy":{"privileged":"yes"}}}`}, "global.proxy.privileged"},
		{"cni", Source{Values: `{"pilot":{"cni":{"enabled":true}}}`}, "pilot.cni.enabled"},
		{"cert provider", Source{Values: `{"global":{"pilotCertProvider":"kubernetes"}}`}, "global.pilotCertProvider"},
		{"config", Source{Config: "policy: [1]"}, "parse injector config"},
		{"template's text", Source{Config: "templates: {custom: \"a: 1\\n{{ nothing }}\"}"}, `template custom, line 2: function "nothing" not defined`},
		{"two templates", Source{Config: "templates: {one: '{{ if }}', two: '{{ end }}'}"}, "template two, line 1"},
		{"unknown alias", Source{Config: "aliases: {mine: [sidecar, theirs]}"}, "theirs"},
		{"unknown default", Source{Config: "defaultTemplates: [gatewy]"}, "gatewy"},
		{"injected annotations", Source{Config: "injectedAnnotations: {a: b}"}, "injectedAnnotations"},
		{"selector", Source{Config: "neverInjectSelector: [{matchExpressions: [{key: a, operator: Maybe}]}]"}, "neverInjectSelector"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewSettings(tt.src)
			if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "\u00a0", " "), tt.want) {
				t.Errorf("error = %v; want it to contain %q", err, tt.want)
			}
		})
	}
}

// TestSettingsOfChart reads what the chart writes when nothing is configured.
func TestSettingsOfChart(t *testing.T) {
	s, err := NewSettings(Source{
		Mesh: "defaultConfig: {discoveryAddress: istiod.istio-system.svc:15012}\ntrustDomain: cluster.local\n",
		Config: "policy: enabled\nalwaysInjectSelector:\n  []\nneverInjectSelector:\n  []\ninjectedAnnotations:\n  {}\n" +
			"defaultTemplates:\n  - sidecar\ntemplates:\n  {}\n",
		Values: `{"global":{"tag":1.5,"hub":"","multiCluster":{"clusterName":""},"variant":"","logAsJson":false,"logging":{"level":""},"proxy":{"includeInboundPorts":"","lifecycle":{},"seccompProfile":{},"statusPort":15020},"imagePullSecrets":[]},
			"gateways":{"securityContext":{},"seccompProfile":{}},"revision":""}`,
	})
	if err != nil {
		t.Fatal(err)
	}
	v := s.Defaults.Values
	if s.Rules.Policy != "enabled" || s.Defaults.Revision != "default" || v.Global.Tag != "1.5" {
		t.Errorf("policy %s, revision %s, tag %s", s.Rules.Policy, s.Defaults.Revision, v.Global.Tag)
	}
	if v.Global.Hub != "ghcr.io/sluicemesh" || v.Global.MultiCluster.ClusterName != "Kubernetes" || v.Global.Logging.Level != "default:info" {
		t.Errorf("empty words of the chart hide the built-in ones: %q %q %q", v.Global.Hub, v.Global.MultiCluster.ClusterName, v.Global.Logging.Level)
	}
	if v.Global.Proxy.IncludeInboundPorts != "" {
		t.Errorf("includeInboundPorts = %q; want none, as the chart says", v.Global.Proxy.IncludeInboundPorts)
	}
	if v.Global.Proxy.Lifecycle != nil || v.Global.Proxy.SeccompProfile != nil || v.Gateways.SecurityContext != nil || v.Gateways.SeccompProfile != nil {
		t.Error("empty objects of the chart are taken as settings")
	}
}
