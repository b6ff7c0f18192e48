package meshconfig

import (
	"google.golang.org/protobuf/reflect/protoreflect"
	meshv1alpha1 "istio.io/api/mesh/v1alpha1"
)

// unread are the fields of a ProxyConfig that no part of Sluice reads, by their JSON names.
// Who makes one of them work takes it out.
func unread() []protoreflect.Name {
	return []protoreflect.Name{
		"availability_zone", "ca_certificates_pem", "discovery_refresh_delay", "envoy_access_log_service",
		"envoy_metrics_service", "envoy_metrics_service_address", "gateway_topology", "private_key_provider",
		"proxy_headers", "readiness_probe", "sds", "stat_name_length", "statsd_udp_address", "tracing", "zipkin_address",
	}
}

// Unread lists the fields, as users write them, that c sets otherwise than the defaults and
// that have no effect, so that none is ignored without a word. The order is stable.
func Unread(c *meshv1alpha1.ProxyConfig) []string {
	var out []string
	m, base := c.ProtoReflect(), DefaultProxyConfig().ProtoReflect()
	if !m.IsValid() {
		return nil
	}
	for _, name := range unread() {
		fd := m.Descriptor().Fields().ByName(name)
		if m.Has(fd) && !(base.Has(fd) && m.Get(fd).Equal(base.Get(fd))) {
			out = append(out, fd.JSONName())
		}
	}
	settings := c.GetConnectionSettings().ProtoReflect()
	for i := range settings.Descriptor().Fields().Len() {
		fd := settings.Descriptor().Fields().Get(i)
		if fd.Name() != "global_downstream_connection_limit" && settings.Has(fd) {
			out = append(out, "connectionSettings."+fd.JSONName())
		}
	}
	return out
}
