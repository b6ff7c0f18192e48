package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	meshv1alpha1 "istio.io/api/mesh/v1alpha1"

	"github.com/sluicemesh/sluice/internal/identity"
	"github.com/sluicemesh/sluice/internal/meshconfig"
	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/internal/nodemeta"
	"github.com/sluicemesh/sluice/internal/ports"
)

// Files whose place is a contract with the injector.
const (
	annotationsFile = "/etc/istio/pod/annotations"
	tokenFile       = "/var/run/secrets/tokens/istio-token"
	rootFile        = "/var/run/secrets/istio/root-cert.pem"
	sdsSocketDir    = "./var/run/secrets/workload-spiffe-uds"
)

// Load reads everything and checks it. The error names each setting that is wrong.
func Load(f Flags, src Source) (Config, error) {
	l := &loader{env: newEnvironment(src.Environ), flags: f, src: src}
	annotations := l.downward(annotationsFile)
	pc := l.proxyConfig(annotations)
	role := nodemeta.Role(f.Role)
	if role != nodemeta.Sidecar && role != nodemeta.Router {
		l.env.fail("role %q is neither sidecar nor router", f.Role)
	}
	c := Config{Role: role, Proxy: pc, Log: Log{JSON: f.LogAsJSON, Level: agentLevel(f.LogLevel)}}
	if a := annotations[meta.DiscoveryAddress]; a != "" { // the older form of the same setting
		if _, _, err := net.SplitHostPort(a); err != nil {
			c.Ignored = append(c.Ignored, fmt.Sprintf("annotation %s: %q is not host:port", meta.DiscoveryAddress, a))
		} else {
			pc.DiscoveryAddress = a
		}
	}
	c.Proxyless = l.proxyless(&c)
	c.Node = l.node(role, pc, annotations)
	c.Node.Store = !c.Proxyless.Enabled // gRPC holds no virtual hosts of its own
	c.DNS = l.dns(&c)
	c.Envoy = l.envoy(pc)
	c.Discovery = l.discovery(pc)
	c.Cert = l.cert(pc, c.Node)
	c.Status = l.status(pc, role)
	c.Status.MergeEnvoy = c.Status.MergeEnvoy && !c.Proxyless.Enabled
	c.Drain = Drain{
		Wait:        pc.GetTerminationDrainDuration().AsDuration(),
		ExitOnZero:  l.env.flag("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", false),
		Minimum:     l.env.duration("MINIMUM_DRAIN_DURATION", 5*time.Second),
		InboundOnly: role == nodemeta.Sidecar,
	}
	c.Bootstrap = l.bootstrap(&c, pc, annotations)
	c.Envoy.LocalV6 = !c.Bootstrap.Families.V4First()
	if err := l.env.err(); err != nil {
		return Config{}, fmt.Errorf("agent configuration: %w", err)
	}
	return c, nil
}

// proxyConfig merges Istio's defaults, the mesh file, PROXY_CONFIG, the annotation and what
// ranks above it. Fields that nobody knows are the injector's to report: a proxy starts
// with a configuration of a newer version.
func (l *loader) proxyConfig(annotations map[string]string) *meshv1alpha1.ProxyConfig {
	pc := meshconfig.DefaultProxyConfig()
	file := l.flags.MeshConfigFile
	if file == "" {
		file = "./etc/istio/config/mesh"
	}
	if text := l.read(file); text != "" {
		mesh, _, err := meshconfig.Parse(text)
		if err != nil {
			l.env.fail("%s: %w", file, err)
		} else {
			pc = mesh.GetDefaultConfig()
		}
	}
	for _, in := range []struct{ from, text string }{
		{"environment PROXY_CONFIG", l.env.text("PROXY_CONFIG", "")},
		{"annotation proxy.istio.io/config", annotations["proxy.istio.io/config"]},
		{"environment PROXY_CONFIG_OVERRIDE", l.env.text("PROXY_CONFIG_OVERRIDE", "")},
	} {
		if in.text == "" {
			continue
		}
		over, err := meshconfig.ParseProxyConfig(in.text)
		if err != nil {
			l.env.fail("%s: %w", in.from, err)
			continue
		}
		pc = meshconfig.MergeProxyConfig(pc, over)
	}
	return pc
}

func (l *loader) envoy(pc *meshv1alpha1.ProxyConfig) Envoy {
	level, components := logLevels(l.flags.ProxyLogLevel, l.flags.ComponentLogLevel)
	e := Envoy{
		Binary: pc.GetBinaryPath(), ConfigFile: filepath.Join(pc.GetConfigPath(), "envoy-rev.json"),
		CustomConfig: pc.GetCustomConfigFile(), Override: l.env.text("ISTIO_BOOTSTRAP_OVERRIDE", ""),
		LogLevel: level, ComponentLogLevel: components, Concurrency: l.concurrency(pc),
		DrainTime:      pc.GetDrainDuration().AsDuration(),
		SkipDeprecated: l.env.flag("ENVOY_SKIP_DEPRECATED_LOGS", true),
		FileFlush:      time.Second,
		FileFlushMinKB: pc.GetFileFlushMinSizeKb(),
	}
	if text := l.env.text("HOST_IP", ""); text != "" {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			l.env.fail("environment HOST_IP: %q is not an IP address", text)
		}
		if e.HostAddress = text; ip.Is6() {
			e.HostAddress = "[" + text + "]"
		}
	}
	if d := pc.GetFileFlushInterval(); d != nil {
		e.FileFlush = d.AsDuration()
	}
	if e.DrainTime < time.Second {
		l.env.fail("drainDuration: %v is less than 1s", e.DrainTime)
	}
	if l.flags.TemplateFile != "" || pc.GetProxyBootstrapTemplatePath() != "" || l.env.text("ISTIO_BOOTSTRAP", "") != "" {
		l.env.fail("a bootstrap template is not supported: use customConfigFile for a whole bootstrap or the annotation sidecar.istio.io/bootstrapOverride for parts")
	}
	return e
}

// concurrency is the number of Envoy's workers: as asked, else the container's CPU limit,
// else all cores (0).
func (l *loader) concurrency(pc *meshv1alpha1.ProxyConfig) int {
	if l.flags.Concurrency > 0 {
		return l.flags.Concurrency
	}
	if c := pc.GetConcurrency(); c != nil {
		return int(c.GetValue())
	}
	limit := l.env.text("ISTIO_CPU_LIMIT", "")
	if limit == "" {
		return 0
	}
	n, err := strconv.Atoi(limit)
	if err != nil || n < 1 {
		l.env.fail("environment ISTIO_CPU_LIMIT: %q is not a number of cores", limit)
	}
	return n
}

func (l *loader) discovery(pc *meshv1alpha1.ProxyConfig) Discovery {
	d := Discovery{
		Address: pc.GetDiscoveryAddress(), RootFile: l.env.text("XDS_ROOT_CA", rootFile), TokenFile: tokenFile,
		ClusterID: l.clusterID(), Headers: l.env.prefixed("XDS_HEADER_"),
		Socket: filepath.Join(pc.GetConfigPath(), "XDS"),
	}
	d.Plaintext = pc.GetControlPlaneAuthPolicy() == meshv1alpha1.AuthenticationPolicy_NONE || plainPort(d.Address)
	d.ServerName = l.serverName("discoveryAddress", d.Address)
	if !l.env.flag("ISTIO_DELTA_XDS", true) {
		l.env.fail("environment ISTIO_DELTA_XDS: false is not supported, the agent speaks delta xDS only")
	}
	return d
}

func (l *loader) clusterID() string { return l.env.text("ISTIO_META_CLUSTER_ID", "Kubernetes") }

// serverName is the name that the certificate of the control plane must have.
func (l *loader) serverName(setting, address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		l.env.fail("%s: %q is not host:port", setting, address)
	}
	if san := l.env.text("ISTIOD_SAN", ""); san != "" {
		return san
	}
	if host == "localhost" || host == "127.0.0.1" || host == "::1" {
		return "istiod.istio-system.svc"
	}
	return host
}

func plainPort(address string) bool {
	return strings.HasSuffix(address, ":"+strconv.Itoa(int(ports.XDSPlain)))
}

func (l *loader) cert(pc *meshv1alpha1.ProxyConfig, n nodemeta.Node) Cert {
	c := Cert{
		Identity: identity.Identity{
			TrustDomain: strings.ReplaceAll(l.env.text("TRUST_DOMAIN", identity.DefaultTrustDomain), "@", "."),
			Namespace:   n.Namespace, ServiceAccount: n.ServiceAccount,
		}.String(),
		Address: l.env.text("CA_ADDR", pc.GetDiscoveryAddress()), RootFile: l.env.text("CA_ROOT_CA", rootFile),
		TTL:        l.env.duration("SECRET_TTL", 24*time.Hour),
		GraceRatio: l.env.ratio("SECRET_GRACE_PERIOD_RATIO", 0.5),
		Jitter:     l.env.ratio("SECRET_GRACE_PERIOD_RATIO_JITTER", 0.01),
		Signer:     l.env.text("ISTIO_META_CERT_SIGNER", ""), Headers: l.env.prefixed("CA_HEADER_"),
	}
	c.OutputDir, c.OutputMode = l.env.text("OUTPUT_CERTS", ""), 0o600
	if l.env.text("KUBERNETES_SERVICE_HOST", "") != "" {
		// The containers of a pod that mount the directory run as other users.
		c.OutputMode = 0o644
	}
	c.Plaintext = pc.GetControlPlaneAuthPolicy() == meshv1alpha1.AuthenticationPolicy_NONE || plainPort(c.Address)
	c.ServerName = l.serverName("CA_ADDR", c.Address)
	name := l.env.text("WORKLOAD_IDENTITY_SOCKET_FILE", "socket")
	if strings.ContainsRune(name, '/') {
		l.env.fail("environment WORKLOAD_IDENTITY_SOCKET_FILE: %q must be a file name without a directory", name)
	}
	c.Socket = filepath.Join(sdsSocketDir, name)
	switch p := l.env.text("CA_PROVIDER", "Citadel"); p {
	case "Citadel":
	case "none":
		c.Disabled = true
	default:
		l.env.fail("environment CA_PROVIDER: %q is not supported, use Citadel", p)
	}
	return c
}

func (l *loader) status(pc *meshv1alpha1.ProxyConfig, role nodemeta.Role) Status {
	s := Status{
		Port: uint16(pc.GetStatusPort()), AdminPort: uint16(pc.GetProxyAdminPort()),
		PrometheusPort: l.env.port("ENVOY_PROMETHEUS_PORT", ports.EnvoyPrometheus),
		ProbeHost:      l.env.text("INSTANCE_IP", "localhost"),
		LocalMetrics:   l.env.flag("METRICS_LOCALHOST_ACCESS_ONLY", false),
		MergeEnvoy:     l.env.flag("PILOT_AGENT_MERGE_ENVOY_STATS", true),
		Profiling:      true,
	}
	if l.env.flag("REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION", false) {
		s.ProbeHost = "localhost"
	}
	var err error
	if s.Probers, err = parseProbers(l.env.text("ISTIO_KUBE_APP_PROBERS", "")); err != nil {
		l.env.fail("environment ISTIO_KUBE_APP_PROBERS: %w", err)
	}
	if s.Scrape, err = parseScrape(l.env.text("ISTIO_PROMETHEUS_ANNOTATIONS", "")); err != nil {
		l.env.fail("environment ISTIO_PROMETHEUS_ANNOTATIONS: %w", err)
	}
	if role != nodemeta.Sidecar {
		s.Scrape = nil // a gateway's status port may be reached from outside
	}
	return s
}

// logLevels splits "warning,misc:error,upstream:debug" into the general level and the
// components' levels; the older flag of its own is put behind.
func logLevels(levels, components string) (level, perComponent string) {
	level = "warning"
	var pairs []string
	for word := range strings.SplitSeq(levels, ",") {
		switch word = strings.TrimSpace(word); {
		case word == "":
		case strings.Contains(word, ":"):
			pairs = append(pairs, word)
		default:
			level = word
		}
	}
	if components != "" {
		pairs = append(pairs, components)
	}
	return level, strings.Join(pairs, ",")
}

// agentLevel takes the default scope's level out of "default:info,ca:debug".
func agentLevel(text string) string {
	for word := range strings.SplitSeq(text, ",") {
		scope, level, found := strings.Cut(word, ":")
		if !found {
			scope, level = "default", word
		}
		if (scope == "default" || scope == "all") && level != "" {
			return level
		}
	}
	return "info"
}

func compactJSON(text []byte) string {
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		return string(text)
	}
	return b.String()
}
