package source

import (
	meshv1alpha1 "istio.io/api/mesh/v1alpha1"

	"github.com/sluicemesh/sluice/xds/ir"
)

// Mesh is what of the mesh configuration reaches proxies. mesh has its defaults filled in
// (internal/meshconfig does so).
func Mesh(mesh *meshv1alpha1.MeshConfig, clusterDomain string) ir.Mesh {
	m := ir.Mesh{
		TrustDomain:      mesh.TrustDomain,
		RootNamespace:    mesh.RootNamespace,
		ClusterDomain:    clusterDomain,
		AutoMTLS:         mesh.EnableAutoMtls.GetValue(),
		ConnectTimeout:   mesh.ConnectTimeout.AsDuration(),
		DetectionTimeout: mesh.ProtocolDetectionTimeout.AsDuration(),
		DNSRefresh:       mesh.DnsRefreshRate.AsDuration(),
		AccessLogFile:    mesh.AccessLogFile,
		AccessLogFormat:  mesh.AccessLogFormat,
		AccessLogJSON:    mesh.AccessLogEncoding == meshv1alpha1.MeshConfig_JSON,
		OutboundPort:     uint16(mesh.ProxyListenPort),
		InboundPort:      uint16(mesh.ProxyInboundListenPort),
	}
	if mesh.OutboundTrafficPolicy.GetMode() == meshv1alpha1.MeshConfig_OutboundTrafficPolicy_REGISTRY_ONLY {
		m.Outbound = ir.RegistryOnly
	}
	return m
}
