package meshconfig

import (
	"strings"
	"testing"
	"time"

	meshv1alpha1 "istio.io/api/mesh/v1alpha1"
)

func TestParseLaysOverDefaults(t *testing.T) {
	mesh, err := Parse(`
accessLogFile: /dev/stdout
outboundTrafficPolicy:
  mode: REGISTRY_ONLY
connectTimeout: 3s
defaultConfig:
  discoveryAddress: istiod-canary.istio-system.svc:15012
  proxyMetadata: {A: "1"}
`)
	if err != nil {
		t.Fatal(err)
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
	mesh, err := Parse("")
	if err != nil {
		t.Fatal(err)
	}
	if mesh.ConnectTimeout.AsDuration() != 10*time.Second || mesh.DefaultConfig.DrainDuration.AsDuration() != 45*time.Second {
		t.Errorf("mesh = %v", mesh)
	}
}

func TestParseNamesTheUnknownField(t *testing.T) {
	_, err := Parse("accessLogFil: /dev/stdout")
	if err == nil || !strings.Contains(err.Error(), "accessLogFil") {
		t.Errorf("err = %v", err)
	}
}

func TestMergeProxyConfig(t *testing.T) {
	base := &meshv1alpha1.ProxyConfig{StatusPort: 15020, ProxyMetadata: map[string]string{"A": "1", "B": "1"}}
	over := &meshv1alpha1.ProxyConfig{StatusPort: 15999, ProxyMetadata: map[string]string{"B": "2"}}
	got := MergeProxyConfig(base, over)
	if got.StatusPort != 15999 || got.ProxyMetadata["A"] != "1" || got.ProxyMetadata["B"] != "2" {
		t.Errorf("merged = %v", got)
	}
	if base.StatusPort != 15020 || base.ProxyMetadata["B"] != "1" {
		t.Errorf("base changed: %v", base)
	}
}
