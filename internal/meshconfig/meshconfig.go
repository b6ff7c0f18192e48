// Package meshconfig reads MeshConfig and ProxyConfig of istio.io/api with Istio's
// defaults. Decoding and merging are pure; watching the ConfigMap is the caller's.
package meshconfig

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	meshv1alpha1 "istio.io/api/mesh/v1alpha1"
	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/internal/identity"
	"github.com/sluicemesh/sluice/internal/ports"
)

// Default returns a new MeshConfig with Istio's defaults.
func Default() *meshv1alpha1.MeshConfig {
	return &meshv1alpha1.MeshConfig{
		ProxyListenPort:                int32(ports.OutboundCapture),
		ProxyInboundListenPort:         int32(ports.InboundCapture),
		ConnectTimeout:                 durationpb.New(10 * time.Second),
		ProtocolDetectionTimeout:       durationpb.New(0),
		TrustDomain:                    identity.DefaultTrustDomain,
		RootNamespace:                  "istio-system",
		IngressService:                 "istio-ingressgateway",
		IngressSelector:                "ingressgateway",
		IngressClass:                   "istio",
		IngressControllerMode:          meshv1alpha1.MeshConfig_STRICT,
		EnableAutoMtls:                 wrapperspb.Bool(true),
		EnablePrometheusMerge:          wrapperspb.Bool(true),
		OutboundTrafficPolicy:          &meshv1alpha1.MeshConfig_OutboundTrafficPolicy{Mode: meshv1alpha1.MeshConfig_OutboundTrafficPolicy_ALLOW_ANY},
		DnsRefreshRate:                 durationpb.New(60 * time.Second),
		DefaultServiceExportTo:         []string{"*"},
		DefaultVirtualServiceExportTo:  []string{"*"},
		DefaultDestinationRuleExportTo: []string{"*"},
		DefaultConfig:                  DefaultProxyConfig(),
	}
}

// DefaultProxyConfig returns a new ProxyConfig with Istio's defaults.
func DefaultProxyConfig() *meshv1alpha1.ProxyConfig {
	return &meshv1alpha1.ProxyConfig{
		ConfigPath:               "./etc/istio/proxy",
		BinaryPath:               "/usr/local/bin/envoy",
		ClusterName:              &meshv1alpha1.ProxyConfig_ServiceCluster{ServiceCluster: "istio-proxy"},
		DrainDuration:            durationpb.New(45 * time.Second),
		TerminationDrainDuration: durationpb.New(5 * time.Second),
		ProxyAdminPort:           int32(ports.EnvoyAdmin),
		ControlPlaneAuthPolicy:   meshv1alpha1.AuthenticationPolicy_MUTUAL_TLS,
		DiscoveryAddress:         "istiod.istio-system.svc:15012",
		StatNameLength:           189,
		StatusPort:               int32(ports.AgentStatus),
		InterceptionMode:         meshv1alpha1.ProxyConfig_REDIRECT,
	}
}

// Parse reads a MeshConfig from YAML and lays it over the defaults: a field that is set
// replaces the default, defaultConfig is merged field by field. An unknown field is an
// error that names it.
func Parse(text string) (*meshv1alpha1.MeshConfig, error) {
	mesh := Default()
	overlay := &meshv1alpha1.MeshConfig{}
	if err := decode(text, overlay); err != nil {
		return nil, fmt.Errorf("parse mesh config: %w", err)
	}
	proxy := MergeProxyConfig(mesh.DefaultConfig, overlay.DefaultConfig)
	overlay.DefaultConfig = nil
	overlayFields(mesh, overlay)
	mesh.DefaultConfig = proxy
	return mesh, nil
}

// ParseProxyConfig reads a ProxyConfig from YAML or JSON without defaults, as the
// annotation proxy.istio.io/config and the environment PROXY_CONFIG hold it.
func ParseProxyConfig(text string) (*meshv1alpha1.ProxyConfig, error) {
	pc := &meshv1alpha1.ProxyConfig{}
	if err := decode(text, pc); err != nil {
		return nil, fmt.Errorf("parse proxy config: %w", err)
	}
	return pc, nil
}

// MergeProxyConfig lays over on top of base and returns a new message: top-level fields
// are replaced, proxyMetadata is merged by key. Either may be nil.
func MergeProxyConfig(base, over *meshv1alpha1.ProxyConfig) *meshv1alpha1.ProxyConfig {
	if base == nil {
		base = &meshv1alpha1.ProxyConfig{}
	}
	out := proto.Clone(base).(*meshv1alpha1.ProxyConfig)
	if over == nil {
		return out
	}
	metadata := map[string]string{}
	for k, v := range base.ProxyMetadata {
		metadata[k] = v
	}
	for k, v := range over.ProxyMetadata {
		metadata[k] = v
	}
	overlayFields(out, over)
	if len(metadata) > 0 {
		out.ProxyMetadata = metadata
	}
	return out
}

// overlayFields replaces each field of dst that is set in src.
func overlayFields(dst, src proto.Message) {
	d, s := dst.ProtoReflect(), proto.Clone(src).ProtoReflect()
	s.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		d.Set(fd, v)
		return true
	})
}

// decode reads YAML strictly into m.
func decode(text string, m proto.Message) error {
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return err
	}
	if string(data) == "null" {
		return nil
	}
	return protojson.Unmarshal(data, m)
}
