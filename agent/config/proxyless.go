package config

// proxyless reads whether an application that speaks xDS through gRPC takes Envoy's place.
// The bootstrap of gRPC is written then only: with Envoy the socket speaks delta xDS, which
// gRPC does not.
func (l *loader) proxyless(c *Config) Proxyless {
	const disable, file = "DISABLE_ENVOY", "GRPC_XDS_BOOTSTRAP"
	if !l.env.flag(disable, false) {
		if l.env.text(file, "") != "" {
			c.Ignored = append(c.Ignored, "environment "+file+": there is no bootstrap for gRPC beside Envoy, set "+disable+" to true or use the template grpc-agent")
		}
		return Proxyless{}
	}
	return Proxyless{Enabled: true, Bootstrap: l.env.text(file, "etc/istio/proxy/grpc-bootstrap.json")}
}
