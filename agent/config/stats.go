package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	meshv1alpha1 "istio.io/api/mesh/v1alpha1"

	"github.com/sluicemesh/sluice/agent/bootstrap"
	"github.com/sluicemesh/sluice/internal/ports"
	"github.com/sluicemesh/sluice/internal/proxystats"
)

// bootstrap derives what the bootstrap depends on.
func (l *loader) bootstrap(c *Config, pc *meshv1alpha1.ProxyConfig, annotations map[string]string) bootstrap.Params {
	p := bootstrap.Params{
		Node: c.Node, Families: bootstrap.FamiliesOf(c.Node.IPs, l.env.flag("ISTIO_DUAL_STACK", false)),
		XDSSocket: c.Discovery.Socket, SDSSocket: c.Cert.Socket,
		AdminPort: c.Status.AdminPort, StatusPort: c.Status.Port,
		HealthPort:     l.env.port("ENVOY_STATUS_PORT", ports.EnvoyHealth),
		PrometheusPort: c.Status.PrometheusPort,
		ProxyProtocol:  l.env.flag("ENVOY_STATUS_PORT_ENABLE_PROXY_PROTOCOL", false),
		LocalMetrics:   c.Status.LocalMetrics, LogJSON: l.flags.LogAsJSON, OutlierLogPath: l.flags.OutlierLogPath,
		RuntimeValues: maps.Clone(pc.GetRuntimeValues()),
		ExitOnZero:    c.Drain.ExitOnZero,
		Compression:   pc.GetStatsCompression() == nil || pc.GetStatsCompression().GetValue(),
	}
	if !l.env.flag("HTTP_STRIP_FRAGMENT_FROM_PATH_UNSAFE_IF_DISABLED", true) {
		l.env.fail("environment HTTP_STRIP_FRAGMENT_FROM_PATH_UNSAFE_IF_DISABLED: false is not supported, fragments are always cut off")
	}
	p.MaxConnections = l.maxConnections(&p, pc)
	asked, mistakes := proxystats.Read(annotations)
	for _, m := range mistakes {
		c.Ignored = append(c.Ignored, "annotation "+m.Annotation+": "+m.Message)
	}
	if asked.Compression != nil {
		p.Compression = *asked.Compression
	}
	p.Stats = l.stats(pc, annotations, asked)
	return p
}

// maxConnections is the bound on downstream connections; 0 means none.
func (l *loader) maxConnections(p *bootstrap.Params, pc *meshv1alpha1.ProxyConfig) int64 {
	const runtimeKey = "overload.global_downstream_max_connections"
	text := p.RuntimeValues[runtimeKey]
	delete(p.RuntimeValues, runtimeKey) // the overload manager refuses to share it with the runtime
	if v := l.env.text("ISTIO_META_GLOBAL_DOWNSTREAM_MAX_CONNECTIONS", ""); v != "" {
		text = v
	}
	if limit := pc.GetConnectionSettings().GetGlobalDownstreamConnectionLimit(); limit != nil {
		text = strconv.FormatUint(uint64(limit.GetValue()), 10)
	}
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 1 {
		l.env.fail("global downstream connection limit: %q is not a positive number", text)
	}
	return n
}

// stats reads which statistics Envoy keeps beyond the ones the mesh needs.
func (l *loader) stats(pc *meshv1alpha1.ProxyConfig, annotations map[string]string, asked proxystats.Settings) bootstrap.Stats {
	m := pc.GetProxyStatsMatcher()
	list := func(annotation string, def []string) []string {
		text, ok := annotations["sidecar.istio.io/"+annotation]
		if ok {
			def = strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
		}
		out := []string{}
		for _, word := range def {
			word = strings.TrimSpace(word)
			if !strings.Contains(word, "{pod_ip}") {
				out = append(out, word)
				continue
			}
			for _, ip := range l.addresses(annotations) {
				out = append(out, strings.ReplaceAll(word, "{pod_ip}", ip.String()))
			}
		}
		return out
	}
	s := bootstrap.Stats{
		Prefixes: list("statsInclusionPrefixes", m.GetInclusionPrefixes()),
		Suffixes: list("statsInclusionSuffixes", m.GetInclusionSuffixes()),
		Regexps:  list("statsInclusionRegexps", m.GetInclusionRegexps()),
		Tags:     append([]string{}, pc.GetExtraStatTags()...),
	}
	for _, tag := range asked.Tags {
		if !slices.Contains(s.Tags, tag) {
			s.Tags = append(s.Tags, tag)
		}
	}
	s.FlushInterval, s.EvictionInterval = asked.Flush, asked.Eviction
	for _, b := range asked.Buckets {
		s.Buckets = append(s.Buckets, bootstrap.Buckets{Prefix: b.Prefix, Bounds: b.Bounds})
	}
	return s
}
