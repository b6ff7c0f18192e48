package meshconfig

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/wrapperspb"
	meshv1alpha1 "istio.io/api/mesh/v1alpha1"
)

func TestParseLaysOverDefaults(t *testing.T) {
	mesh, unknown, err := Parse(`
accessLogFile: /dev/stdout
outboundTrafficPolicy:
  mode: REGISTRY_ONLY
connectTimeout: 0.05m
defaultConfig:
  discoveryAddress: istiod-canary.istio-system.svc:15012
  proxyMetadata: {A: "1"}
`)
	if err != nil || unknown != nil {
		t.Fatal(unknown, err)
	}
	if mesh.AccessLogFile != "/dev/stdout" || mesh.TrustDomain != "cluster.local" || mesh.RootNamespace != "istio-system" {
		t.Errorf("mesh = %v", mesh)
	}
	if mesh.OutboundTrafficPolicy.Mode != meshv1alpha1.MeshConfig_OutboundTrafficPolicy_REGISTRY_ONLY {
		t.Errorf("outboundTrafficPolicy = %v", mesh.OutboundTrafficPolicy)
	}
	if mesh.ConnectTimeout.AsDuration() != 3*time.Second {
		t.Errorf("connectTimeout = %v", mesh.ConnectTimeout)
	}
	pc := mesh.DefaultConfig
	if pc.DiscoveryAddress != "istiod-canary.istio-system.svc:15012" || pc.StatusPort != 15020 || pc.ProxyMetadata["A"] != "1" {
		t.Errorf("defaultConfig = %v", pc)
	}
}

func TestParseEmptyIsDefault(t *testing.T) {
	mesh, _, err := Parse("")
	if err != nil {
		t.Fatal(err)
	}
	if mesh.ConnectTimeout.AsDuration() != 10*time.Second || mesh.DefaultConfig.DrainDuration.AsDuration() != 45*time.Second {
		t.Errorf("mesh = %v", mesh)
	}
}

func TestParseNamesTheUnknownField(t *testing.T) {
	mesh, unknown, err := Parse(`
accessLogFil: /dev/stdout
trustDomain: example.org
defaultConfig: {concurency: 2, tracing: {zipkin: {adr: a:1}}, drainDuration: 7s, proxyMetadata: {anything: goes}}
extensionProviders:
- {name: a, zipkin: {service: z, port: 9411, bogus: 1}}
`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range unknown {
		got = append(got, u.String())
	}
	want := []string{
		"unknown field accessLogFil: did you mean accessLogFile?",
		"unknown field defaultConfig.concurency: did you mean concurrency?",
		"unknown field defaultConfig.tracing.zipkin.adr",
		"unknown field extensionProviders[0].zipkin.bogus",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if mesh.TrustDomain != "example.org" || mesh.DefaultConfig.DrainDuration.Seconds != 7 || mesh.ExtensionProviders[0].GetZipkin().GetPort() != 9411 {
		t.Errorf("the known fields were lost: %v", mesh)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"defaultConfig: {interceptionMode: redirect}", []string{`defaultConfig.interceptionMode: "redirect" is not one of REDIRECT, TPROXY, NONE`}},
		{"{ingressControllerMode: 'ON', defaultConfig: {controlPlaneAuthPolicy: 7}}",
			[]string{`ingressControllerMode: "ON" is not one of UNSPECIFIED, OFF, DEFAULT, STRICT`, `defaultConfig.controlPlaneAuthPolicy: "7" is not one of NONE, MUTUAL_TLS, INHERIT`}},
		{"trustDomain: 7", []string{`trustDomain: 7 is not a text, write it in quotes: "7"`}},
		{"defaultConfig: {proxyMetadata: {A: on, B: 'on', C: 10}}", []string{
			`defaultConfig.proxyMetadata.A: true is not a text, write it in quotes: "true"`,
			`defaultConfig.proxyMetadata.C: 10 is not a text, write it in quotes: "10"`,
		}},
		{"{trustDomain: [a], defaultConfig: {concurrency: many}}",
			[]string{"trustDomain: invalid", `defaultConfig: invalid value for int32 field value: "many"`}},
		{"defaultConfig: {serviceCluster: a, tracingServiceName: CANONICAL_NAME_ONLY}", []string{"oneof"}},
		{"{bogus: 1, connectTimeout: soon}", []string{`connectTimeout: "soon" is not a duration`}},
		{"just words", []string{"is not a list of fields"}},
		{"[1]", []string{"is not a list of fields"}},
		{"a: [", []string{"yaml"}},
	} {
		_, _, err := Parse(c.text)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Parse(%q) = %v; want %q", c.text, err, want)
			}
		}
		if err != nil && strings.Contains(err.Error(), "(line") {
			t.Errorf("Parse(%q) = %v; that position is of another text", c.text, err)
		}
	}
}

// TestExplicitZeros: proto3 cannot tell the zero of a type from an unset field; a user can.
func TestExplicitZeros(t *testing.T) {
	mesh, _, err := Parse(`
ingressControllerMode: UNSPECIFIED
rootNamespace: null
defaultServiceExportTo: []
defaultConfig: {controlPlaneAuthPolicy: NONE, statusPort: 0, interception_mode: TPROXY}
`)
	if err != nil {
		t.Fatal(err)
	}
	if mesh.IngressControllerMode != meshv1alpha1.MeshConfig_UNSPECIFIED || mesh.RootNamespace != "istio-system" || mesh.DefaultServiceExportTo != nil {
		t.Errorf("mesh = %v", mesh)
	}
	pc := mesh.DefaultConfig
	if pc.ControlPlaneAuthPolicy != meshv1alpha1.AuthenticationPolicy_NONE || pc.StatusPort != 0 || pc.InterceptionMode != meshv1alpha1.ProxyConfig_TPROXY {
		t.Errorf("defaultConfig = %v", pc)
	}
	over, err := ParseProxyConfig("{interceptionMode: REDIRECT, concurrency: 0, discoveryAddress: null}")
	if err != nil {
		t.Fatal(err)
	}
	pc = MergeProxyConfig(pc, over)
	if pc.InterceptionMode != meshv1alpha1.ProxyConfig_REDIRECT || pc.Concurrency == nil || pc.DiscoveryAddress != "istiod.istio-system.svc:15012" {
		t.Errorf("merged = %v", pc)
	}
}

func TestMergeProxyConfig(t *testing.T) {
	base := &meshv1alpha1.ProxyConfig{
		StatusPort: 15020, ProxyMetadata: map[string]string{"A": "1", "B": "1"}, RuntimeValues: map[string]string{"old": "1"},
		Tracing: &meshv1alpha1.Tracing{Sampling: 5, MaxPathTagLength: 3},
		ProxyHeaders: &meshv1alpha1.ProxyConfig_ProxyHeaders{
			Server:    &meshv1alpha1.ProxyConfig_ProxyHeaders_Server{Value: "mesh"},
			RequestId: &meshv1alpha1.ProxyConfig_ProxyHeaders_RequestId{Disabled: wrapperspb.Bool(true)},
		},
	}
	before := proto.Clone(base)
	over, err := ParseProxyConfig(`
statusPort: 15999
proxyMetadata: {B: "2"}
runtimeValues: {new: "1"}
tracing: {sampling: 7}
proxyHeaders: {server: {value: pod}}
`)
	if err != nil {
		t.Fatal(err)
	}
	got := MergeProxyConfig(base, over)
	want := &meshv1alpha1.ProxyConfig{
		StatusPort: 15999, ProxyMetadata: map[string]string{"A": "1", "B": "2"}, RuntimeValues: map[string]string{"new": "1"},
		Tracing: &meshv1alpha1.Tracing{Sampling: 7},
		ProxyHeaders: &meshv1alpha1.ProxyConfig_ProxyHeaders{
			Server:    &meshv1alpha1.ProxyConfig_ProxyHeaders_Server{Value: "pod"},
			RequestId: &meshv1alpha1.ProxyConfig_ProxyHeaders_RequestId{Disabled: wrapperspb.Bool(true)},
		},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before, base, protocmp.Transform()); diff != "" {
		t.Errorf("base changed: %s", diff)
	}
	if got := MergeProxyConfig(nil, over); got.StatusPort != 15999 || len(got.ProxyMetadata) != 1 {
		t.Errorf("merged over nothing = %v", got)
	}
	if got := MergeProxyConfig(base, ProxyOverlay{}); !proto.Equal(got, base) || got == base {
		t.Errorf("nothing over base = %v", got)
	}
}
