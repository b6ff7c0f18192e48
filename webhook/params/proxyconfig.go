package params

import (
	"strconv"
	"strings"

	meshv1alpha1 "istio.io/api/mesh/v1alpha1"

	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/internal/ports"
)

// statusPort is one value for probes, rules, hooks, the proxy's own configuration and
// the metrics annotations: the pod's annotation, its proxy.istio.io/config, the mesh.
func (r *reader) statusPort(config *meshv1alpha1.ProxyConfig) uint16 {
	if v, ok := r.get(meta.StatusPort); ok {
		n, err := strconv.ParseUint(v, 10, 16)
		if err != nil {
			r.bad(meta.StatusPort, "%q is not a port, write a number from 0 to 65535", v)
		}
		r.free(meta.StatusPort, uint16(n))
		return uint16(n)
	}
	if config.StatusPort != r.Defaults.Mesh.DefaultConfig.StatusPort && config.StatusPort >= 0 && config.StatusPort <= 65535 {
		r.free(meta.ProxyConfig, uint16(config.StatusPort))
		return uint16(config.StatusPort)
	}
	return r.Defaults.statusPort
}

// free refuses a port for the agent that Envoy listens on: whichever of the two came
// second would exit, again and again.
func (r *reader) free(key string, port uint16) {
	switch port {
	case ports.EnvoyAdmin, ports.OutboundCapture, ports.InboundCapture, ports.EnvoyHealth, ports.EnvoyPrometheus:
		r.bad(key, "port %d belongs to Envoy: name one that nothing in the pod listens on, such as %d", port, ports.AgentStatus)
	}
}

// mesh fills what the proxy is told about the mesh.
func (r *reader) mesh(config *meshv1alpha1.ProxyConfig, p Params) Mesh {
	global := &r.Defaults.Values.Global
	trust := r.Defaults.Mesh.TrustDomain
	m := Mesh{
		ID:            firstNonEmpty(config.MeshId, string(global.MeshID), trust),
		TrustDomain:   trust,
		Cluster:       firstNonEmpty(r.Path.Cluster, string(global.MultiCluster.ClusterName)),
		Network:       firstNonEmpty(r.Pod.Labels[meta.Network], r.Path.Network, string(global.Network)),
		ClusterDomain: r.Defaults.clusterDomain,
		CAAddress:     r.Defaults.caAddress,
		CertProvider:  global.PilotCertProvider,
		Compliance:    r.Defaults.compliance,
		ProxyConfig:   r.Defaults.proxyConfigJSON,
		Metadata:      config.ProxyMetadata,
		Interception:  string(p.Capture.Mode),
	}
	if p.Template == Gateway {
		m.Interception = config.InterceptionMode.String()
	}
	if config == r.Defaults.Mesh.DefaultConfig && p.Health.StatusPort == r.Defaults.statusPort {
		return m
	}
	m.ProxyConfigOverride = r.override
	config = clone(config)
	config.StatusPort = int32(p.Health.StatusPort)
	text, err := r.Defaults.differences(config)
	if err != nil {
		r.bad(meta.ProxyConfig, "%v", err)
	}
	m.ProxyConfig = text
	return m
}

// health resolves ports and timings of the probes.
func (r *reader) health(config *meshv1alpha1.ProxyConfig) Health {
	proxy := &r.Defaults.Values.Global.Proxy
	h := Health{
		StatusPort:        r.statusPort(config),
		ReadyInitialDelay: r.count(meta.ReadyInitialDelay, proxy.ReadyInitialDelay),
		ReadyPeriod:       r.count(meta.ReadyPeriod, proxy.ReadyPeriod),
		ReadyFail:         r.count(meta.ReadyFailures, proxy.ReadyFailures),
		Rewrite:           r.Defaults.Values.Injector.RewriteProbes,
		Localhost:         r.Defaults.Mesh.GetInboundTrafficPolicy().GetMode() == meshv1alpha1.MeshConfig_InboundTrafficPolicy_LOCALHOST,
	}
	if proxy.StartupProbe.Enabled {
		h.Startup = proxy.StartupProbe.FailureThreshold
	}
	if v, ok := r.get(meta.RewriteProbes); ok {
		b, err := strconv.ParseBool(v)
		if err != nil {
			r.warn(meta.RewriteProbes, InvalidAnnotation, "%q is neither true nor false, the default %v holds", v, h.Rewrite)
			b = h.Rewrite
		}
		h.Rewrite = b
	}
	return h
}

// logs resolves the log levels.
func (r *reader) logs() Logs {
	global := &r.Defaults.Values.Global
	proxy := &global.Proxy
	l := Logs{
		Proxy:     unblanked(r.or(meta.LogLevel, proxy.LogLevel)),
		Component: unblanked(r.or(meta.ComponentLogLevel, proxy.ComponentLogLevel)),
		Agent:     unblanked(r.or(meta.AgentLogLevel, global.Logging.Level)),
		JSON:      global.LogAsJSON,
	}
	r.levels()
	return l
}

// unblanked is a list without blanks, which Envoy would take for a part of the words.
func unblanked(list string) string { return strings.ReplaceAll(list, " ", "") }

// native decides between a restartable init container and a plain one.
func (r *reader) native(p Params) bool {
	if p.Template == Gateway || r.onlyProxy() {
		return false
	}
	v := r.Pod.Annotations[meta.NativeSidecar]
	switch v {
	case "":
		return r.Native
	case "true":
		return true
	case "false":
		return false
	}
	r.warn(meta.NativeSidecar, InvalidAnnotation, "%q is neither true nor false, taken as true", v)
	return true
}

// onlyProxy reports a pod of nothing but a proxy of the user's: moving it to the init
// containers would leave an empty list, which the API server refuses.
func (r *reader) onlyProxy() bool {
	for i := range r.Pod.Spec.Containers {
		if r.Pod.Spec.Containers[i].Name != meta.ProxyContainer {
			return false
		}
	}
	return true
}

// hold decides whether the application waits for the proxy. The mesh-wide value cannot
// be undone by a pod, as in Istio.
func (r *reader) hold(config *meshv1alpha1.ProxyConfig, p Params) bool {
	hold := config.GetHoldApplicationUntilProxyStarts().GetValue() || r.Defaults.Values.Global.Proxy.Hold
	own := config != r.Defaults.Mesh.DefaultConfig
	switch {
	case !hold:
	case p.Native && own:
		r.warn(meta.ProxyConfig, NoEffect,
			"holdApplicationUntilProxyStarts has no effect with native sidecars: the application always starts after the proxy")
	case !p.Native && p.Health.StatusPort == 0:
		r.warn(meta.StatusPort, NoEffect,
			"without the agent's port nothing tells when the proxy is ready: holdApplicationUntilProxyStarts has no effect")
	}
	return hold
}
