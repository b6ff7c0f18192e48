// Package meshconfig reads MeshConfig and ProxyConfig of istio.io/api with Istio's
// defaults, and says what is wrong with them.
//
// A field that no version known here has is left out and named, so that a configuration of
// a newer Istio keeps working; a value that cannot be read is an error. Texts come in,
// messages and mistakes go out; watching the ConfigMap is the caller's. The package is pure.
package meshconfig

import (
	"fmt"
	"maps"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	meshv1alpha1 "istio.io/api/mesh/v1alpha1"

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

// Parse reads a MeshConfig from YAML and lays it over the defaults: a field that the text
// names replaces the default, with zero as well; defaultConfig is merged field by field.
// Fields that no MeshConfig has are left out and listed. The error joins all mistakes.
func Parse(text string) (*meshv1alpha1.MeshConfig, []Unknown, error) {
	mesh := Default()
	over := &meshv1alpha1.MeshConfig{}
	doc, err := decode(text, over)
	if err != nil {
		return nil, nil, fmt.Errorf("parse mesh config: %w", err)
	}
	proxy := MergeProxyConfig(mesh.DefaultConfig, ProxyOverlay{
		Config: over.DefaultConfig, zeros: zeros(over.DefaultConfig, object(doc.fields["defaultConfig"])),
	})
	over.DefaultConfig = nil
	overlayFields(mesh, over, zeros(over, doc.fields))
	mesh.DefaultConfig = proxy
	return mesh, doc.unknown, nil
}

// ProxyOverlay is a ProxyConfig as a user wrote it, without defaults.
type ProxyOverlay struct {
	// Config holds what the text sets.
	Config *meshv1alpha1.ProxyConfig
	// Unknown lists the fields that no ProxyConfig has; they are left out.
	Unknown []Unknown
	// zeros are the fields that the text sets to the zero of their type, which Config cannot
	// tell from unset ones.
	zeros []protoreflect.FieldDescriptor
}

// ParseProxyConfig reads a ProxyConfig from YAML or JSON without defaults, as the
// annotation proxy.istio.io/config and the environment PROXY_CONFIG hold it. The error
// joins all mistakes.
func ParseProxyConfig(text string) (ProxyOverlay, error) {
	pc := &meshv1alpha1.ProxyConfig{}
	doc, err := decode(text, pc)
	if err != nil {
		return ProxyOverlay{}, fmt.Errorf("parse proxy config: %w", err)
	}
	return ProxyOverlay{Config: pc, Unknown: doc.unknown, zeros: zeros(pc, doc.fields)}, nil
}

// MergeProxyConfig lays over on top of base and returns a new message: top-level fields
// are replaced, also by an explicit zero; proxyMetadata is merged by key, proxyHeaders by
// field. base may be nil, and so may over.Config.
func MergeProxyConfig(base *meshv1alpha1.ProxyConfig, over ProxyOverlay) *meshv1alpha1.ProxyConfig {
	out := &meshv1alpha1.ProxyConfig{}
	if base != nil {
		out = proto.Clone(base).(*meshv1alpha1.ProxyConfig)
	}
	if over.Config == nil {
		return out
	}
	metadata, headers := out.ProxyMetadata, out.ProxyHeaders
	overlayFields(out, over.Config, over.zeros)
	if len(metadata) > 0 {
		maps.Copy(metadata, over.Config.ProxyMetadata) // it is of the clone
		out.ProxyMetadata = metadata
	}
	if headers != nil {
		overlayFields(headers, over.Config.ProxyHeaders, nil)
		out.ProxyHeaders = headers
	}
	return out
}

// overlayFields replaces each field of dst that is set in src and clears those of cleared.
func overlayFields(dst, src proto.Message, cleared []protoreflect.FieldDescriptor) {
	d := dst.ProtoReflect()
	if s := src.ProtoReflect(); s.IsValid() {
		proto.Clone(src).ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			d.Set(fd, v)
			return true
		})
	}
	for _, fd := range cleared {
		d.Clear(fd)
	}
}

// zeros returns the fields that a document names and that m, read from it, lacks.
func zeros(m proto.Message, fields map[string]any) []protoreflect.FieldDescriptor {
	var out []protoreflect.FieldDescriptor
	r := m.ProtoReflect()
	known := r.Descriptor().Fields()
	for i := range known.Len() {
		fd := known.Get(i)
		value, named := fields[fd.JSONName()]
		if !named {
			value = fields[string(fd.Name())]
		}
		if value != nil && (!r.IsValid() || !r.Has(fd)) {
			out = append(out, fd)
		}
	}
	return out
}
