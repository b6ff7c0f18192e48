package webhook

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicemesh/sluice/webhook/policy"
)

// TestSettingsRefused: what cannot be used is named, nothing is dropped silently.
func TestSettingsRefused(t *testing.T) {
	tests := []struct {
		name string
		src  Source
		want string
	}{
		{"mesh", Source{Mesh: "trustDomain: 7"}, `trustDomain: 7 is not a text, write it in quotes: "7"`},
		{"proxy config", Source{Mesh: "defaultConfig: {statusPort: 70000, drainDuration: 0s}"},
			"mesh config: defaultConfig.statusPort: 70000 is not a port, write a number from 0 to 65535; defaultConfig.drainDuration: 0s is less than 1s"},
		{"ranges", Source{Values: `{"global":{"proxy":{"includeIPRanges":"everywhere"}}}`}, `values: global.proxy.includeIPRanges: "everywhere" is not an IP range`},
		{"ports", Source{Values: `{"global":{"proxy":{"excludeOutboundPorts":"http"}}}`}, `values: global.proxy.excludeOutboundPorts: "http" is not a port`},
		{"listen port", Source{Mesh: "proxyInboundListenPort: 70000"}, "mesh config: proxyInboundListenPort: 70000 is not a port"},
		{"log level", Source{Values: `{"global":{"proxy":{"logLevel":"loud"}}}`}, `values: global.proxy.logLevel: "loud" is not a log level`},
		{"values", Source{Values: "{"}, "parse values"},
		{"value type", Source{Values: `{"global":{"proxy":{"privileged":"yes"}}}`}, "global.proxy.privileged"},
		{"certificates of another", Source{Values: `{"global":{"caName":"GkeWorkloadCertificate"}}`}, "global.caName"},
		{"compliance", Source{Values: `{"pilot":{"env":{"COMPLIANCE_POLICY":"strict"}}}`}, "pilot.env.COMPLIANCE_POLICY"},
		{"cert provider", Source{Values: `{"global":{"pilotCertProvider":"kubernetes"}}`}, "global.pilotCertProvider"},
		{"config", Source{Config: "policy: [1]"}, "parse injector config"},
		{"template's text", Source{Config: "templates: {custom: \"a: 1\\n{{ nothing }}\"}"}, `template custom, line 2: function "nothing" not defined`},
		{"two templates", Source{Config: "templates: {one: '{{ if }}', two: '{{ end }}'}"}, "template two, line 1"},
		{"unknown alias", Source{Config: "aliases: {mine: [sidecar, theirs]}"}, "theirs"},
		{"unknown default", Source{Config: "defaultTemplates: [gatewy]"}, "gatewy"},
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

// TestSettingsNotes: what is left out is named, and spoils nothing else.
func TestSettingsNotes(t *testing.T) {
	s, err := NewSettings(Source{
		Mesh: "{nonsense: 1, defaultConfig: {concurency: 2}}",
		Config: `
policy: sometimes
neverInjectSelector:
- matchExpressions: [{key: a, operator: Maybe}]
- matchLabels: {never: "true"}
- matchLabels: [a]
- {}
alwaysInjectSelector: [just a word, {matchLabels: {always: "true"}}]
`,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`injector config: policy "sometimes" is neither enabled nor disabled: no pod is injected`,
		`injector config: neverInjectSelector: left out: element 0: "Maybe" is not a valid label selector operator`,
		"injector config: neverInjectSelector: left out: element 2 is no selector: json: cannot unmarshal array into Go struct field LabelSelector.matchLabels of type map[string]string",
		"injector config: alwaysInjectSelector: left out: element 0 is no selector: json: cannot unmarshal string into Go value of type v1.LabelSelector",
		"mesh config: unknown field defaultConfig.concurency: did you mean concurrency?",
		"mesh config: unknown field nonsense",
	}
	if diff := cmp.Diff(want, s.Notes); diff != "" {
		t.Error(diff)
	}
	if len(s.Rules.Never) != 1 || s.Rules.Never[0].String() != "never=true" || len(s.Rules.Always) != 1 || s.Rules.Always[0].String() != "always=true" {
		t.Errorf("rules = %v", s.Rules)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"sidecar.istio.io/inject": "true"}}}
	if d := Inject(s, Request{Pod: pod, Namespace: "shop"}).Decision; d.Inject || d.Reason != policy.PolicyUnknown {
		t.Errorf("decision = %+v", d)
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
