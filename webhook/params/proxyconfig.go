package params

import (
	"strconv"

	meshv1alpha1 "istio.io/api/mesh/v1alpha1"

	"github.com/sluicemesh/sluice/internal/meshconfig"
	"github.com/sluicemesh/sluice/internal/meta"
)

// proxyConfig returns the mesh's proxy configuration with the pod's annotation over it;
// without the annotation it is the shared one and must not be modified.
func (r *reader) proxyConfig() *meshv1alpha1.ProxyConfig {
	base := r.Defaults.Mesh.DefaultConfig
	text, ok := r.get(meta.ProxyConfig)
	if !ok {
		return base
	}
	over, err := meshconfig.ParseProxyConfig(text)
	if err != nil {
		r.bad(meta.ProxyConfig, "%v", err)
		return base
	}
	if over.StatusPort < 0 || over.StatusPort > 65535 {
		r.bad(meta.ProxyConfig, "statusPort %d is not a port, write a number from 0 to 65535", over.StatusPort)
	}
	if d := over.TerminationDrainDuration; d != nil && d.AsDuration() < 0 {
		r.bad(meta.ProxyConfig, "terminationDrainDuration %s is negative", d.AsDuration())
	}
	if c := over.Concurrency; c != nil && c.Value < 0 {
		r.bad(meta.ProxyConfig, "concurrency %d is negative", c.Value)
	}
	return meshconfig.MergeProxyConfig(base, over)
}

// statusPort is one value for probes, rules, hooks, the proxy's own configuration and
// the metrics annotations: the pod's annotation, its proxy.istio.io/config, the mesh.
func (r *reader) statusPort(config *meshv1alpha1.ProxyConfig) uint16 {
	if v, ok := r.get(meta.StatusPort); ok {
		n, err := strconv.ParseUint(v, 10, 16)
		if err != nil {
			r.bad(meta.StatusPort, "%q is not a port, write a number from 0 to 65535", v)
		}
		return uint16(n)
	}
	if config.StatusPort != r.Defaults.Mesh.DefaultConfig.StatusPort && config.StatusPort > 0 && config.StatusPort <= 65535 {
		return uint16(config.StatusPort)
	}
	return r.Defaults.statusPort
}

// mesh fills what the proxy is told about the mesh.
func (r *reader) mesh(config *meshv1alpha1.ProxyConfig, p Params) Mesh {
	global := &r.Defaults.Values.Global
	trust := r.Defaults.Mesh.TrustDomain
	m := Mesh{
		ID:            firstNonEmpty(config.MeshId, global.MeshID, trust),
		TrustDomain:   trust,
		Cluster:       firstNonEmpty(r.Path.Cluster, global.MultiCluster.ClusterName),
		Network:       firstNonEmpty(r.Pod.Labels[meta.Network], r.Path.Network, global.Network),
		ClusterDomain: r.Defaults.clusterDomain,
		CAAddress:     r.Defaults.caAddress,
		CertProvider:  global.PilotCertProvider,
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
		Proxy:     r.or(meta.LogLevel, proxy.LogLevel),
		Component: r.or(meta.ComponentLogLevel, proxy.ComponentLogLevel),
		Agent:     r.or(meta.AgentLogLevel, global.Logging.Level),
		JSON:      global.LogAsJSON,
	}
	switch l.Proxy {
	case "trace", "debug", "info", "warn", "warning", "error", "err", "critical", "off":
	default:
		// Envoy exits at once on a level that it does not know.
		r.bad(meta.LogLevel, "%q is not a log level, write trace, debug, info, warning, error, critical or off", l.Proxy)
	}
	return l
}

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
func (r *reader) hold(config *meshv1alpha1.ProxyConfig, native bool) bool {
	hold := config.GetHoldApplicationUntilProxyStarts().GetValue() || r.Defaults.Values.Global.Proxy.Hold
	if hold && native && config != r.Defaults.Mesh.DefaultConfig {
		r.warn(meta.ProxyConfig, NoEffect,
			"holdApplicationUntilProxyStarts has no effect with native sidecars: the application always starts after the proxy")
	}
	return hold
}
