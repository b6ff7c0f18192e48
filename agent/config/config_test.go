package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/agent/bootstrap"
	"github.com/sluicemesh/sluice/internal/nodemeta"
)

// root makes a directory with the given files.
func root(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var addrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// injected is the environment that the injector gives a sidecar.
func injected(more ...string) []string {
	return append([]string{
		"PILOT_CERT_PROVIDER=istiod", "CA_ADDR=istiod.istio-system.svc:15012", "POD_NAME=sleep-7d9f-x", "POD_NAMESPACE=default",
		"INSTANCE_IP=10.244.0.5", "SERVICE_ACCOUNT=sleep", "HOST_IP=172.18.0.2", "ISTIO_CPU_LIMIT=2", "PROXY_CONFIG={}",
		`ISTIO_META_POD_PORTS=[{"containerPort":80}]`, "ISTIO_META_APP_CONTAINERS=sleep", "ISTIO_META_CLUSTER_ID=Kubernetes",
		"ISTIO_META_NODE_NAME=node-1", "ISTIO_META_INTERCEPTION_MODE=REDIRECT", "ISTIO_META_WORKLOAD_NAME=sleep",
		"ISTIO_META_OWNER=kubernetes://apis/apps/v1/namespaces/default/deployments/sleep", "ISTIO_META_MESH_ID=cluster.local", "TRUST_DOMAIN=cluster.local",
	}, more...)
}

func load(t *testing.T, f Flags, src Source) Config {
	t.Helper()
	c, err := Load(f, src)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestInjectedSidecar(t *testing.T) {
	dir := root(t, map[string]string{
		"etc/istio/pod/labels":      "app=\"sleep\"\npod-template-hash=\"7d9f\"\ntopology.istio.io/locality=\"eu.eu-1.a\"\n",
		"etc/istio/pod/annotations": "k=\"a \\\"quoted\\\" value\"\n",
	})
	c := load(t, Flags{Role: "sidecar", Domain: "default.svc.example.org", ProxyLogLevel: "warning,misc:error,upstream:debug", LogLevel: "default:debug"},
		Source{Environ: injected("ISTIO_META_DNS_CAPTURE=true", `ISTIO_METAJSON_X={"deep":{"a":1},"s":"t"}`), Root: dir, Version: "1.2.3", Interfaces: []Interface{
			{"lo", []netip.Addr{netip.MustParseAddr("127.0.0.1")}}, {"eth0", []netip.Addr{netip.MustParseAddr("10.244.0.5"), netip.MustParseAddr("fd00::5"), netip.MustParseAddr("fe80::1")}},
		}})
	pc := c.Node.ProxyConfig
	c.Node.ProxyConfig = ""
	want := nodemeta.Node{
		Role: nodemeta.Sidecar, IP: netip.MustParseAddr("10.244.0.5"), Name: "sleep-7d9f-x", Namespace: "default",
		DNSDomain: "default.svc.example.org", Cluster: "sleep.default", Locality: nodemeta.Locality{Region: "eu", Zone: "eu-1", SubZone: "a"},
		IPs:    []netip.Addr{netip.MustParseAddr("10.244.0.5"), netip.MustParseAddr("fd00::5")},
		Labels: map[string]string{"app": "sleep", "topology.istio.io/locality": "eu.eu-1.a"}, Annotations: map[string]string{"k": `a "quoted" value`},
		ServiceAccount: "sleep", WorkloadName: "sleep", Owner: "kubernetes://apis/apps/v1/namespaces/default/deployments/sleep",
		ClusterID: "Kubernetes", MeshID: "cluster.local", NodeName: "node-1", InterceptionMode: "REDIRECT", Version: "1.2.3",
		PodPorts: `[{"containerPort":80}]`, AppContainers: "sleep", Store: true,
		Extra: map[string]string{"DNS_CAPTURE": "true", "deep": `{"a":1}`, "s": "t"},
	}
	if diff := cmp.Diff(want, c.Node, addrs); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(pc, `"discoveryAddress":"istiod.istio-system.svc:15012"`) {
		t.Errorf("PROXY_CONFIG = %s", pc)
	}
	envoy := Envoy{
		Binary: "/usr/local/bin/envoy", ConfigFile: "etc/istio/proxy/envoy-rev.json", LogLevel: "warning", ComponentLogLevel: "misc:error,upstream:debug",
		Concurrency: 2, DrainTime: 45 * time.Second, SkipDeprecated: true, FileFlush: time.Second, HostAddress: "172.18.0.2",
	}
	if diff := cmp.Diff(envoy, c.Envoy); diff != "" {
		t.Error(diff)
	}
	discovery := Discovery{
		Address: "istiod.istio-system.svc:15012", ServerName: "istiod.istio-system.svc", RootFile: "/var/run/secrets/istio/root-cert.pem",
		TokenFile: "/var/run/secrets/tokens/istio-token", ClusterID: "Kubernetes", Headers: map[string]string{}, Socket: "etc/istio/proxy/XDS",
	}
	if diff := cmp.Diff(discovery, c.Discovery); diff != "" {
		t.Error(diff)
	}
	cert := Cert{
		Identity: "spiffe://cluster.local/ns/default/sa/sleep", Address: "istiod.istio-system.svc:15012", ServerName: "istiod.istio-system.svc",
		RootFile: "/var/run/secrets/istio/root-cert.pem", TTL: 24 * time.Hour, GraceRatio: 0.5, Jitter: 0.01, Headers: map[string]string{},
		Socket: "var/run/secrets/workload-spiffe-uds/socket", OutputMode: 0o600,
	}
	if diff := cmp.Diff(cert, c.Cert); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Drain{Wait: 5 * time.Second, Minimum: 5 * time.Second, InboundOnly: true}, c.Drain); diff != "" {
		t.Error(diff)
	}
	if c.Log != (Log{Level: "debug"}) {
		t.Errorf("log = %+v", c.Log)
	}
	if c.Status.Port != 15020 || c.Status.AdminPort != 15000 || c.Status.PrometheusPort != 15090 || c.Status.ProbeHost != "10.244.0.5" {
		t.Errorf("status = %+v", c.Status)
	}
	if c.Bootstrap.HealthPort != 15021 || c.Bootstrap.Families != (bootstrap.Families{V4: true}) || !c.Bootstrap.Compression {
		t.Errorf("bootstrap = %+v", c.Bootstrap)
	}
}

func TestPrecedenceOfProxyConfig(t *testing.T) {
	dir := root(t, map[string]string{
		"etc/istio/config/mesh":     "defaultConfig: {drainDuration: 10s, discoveryAddress: mesh:15012, proxyMetadata: {A: mesh}}\n",
		"etc/istio/pod/annotations": "proxy.istio.io/config=\"concurrency: 3\\ndiscoveryAddress: annotation:15010\"\n",
	})
	c := load(t, Flags{Role: "router"}, Source{Root: dir, Environ: injected("PROXY_CONFIG={drainDuration: 20s, discoveryAddress: env:15012, concurrency: 1}")})
	if c.Envoy.DrainTime != 20*time.Second || c.Envoy.Concurrency != 3 || c.Discovery.Address != "annotation:15010" || !c.Discovery.Plaintext {
		t.Errorf("%+v %+v", c.Envoy, c.Discovery)
	}
	if c.Proxy.GetProxyMetadata()["A"] != "mesh" || c.Drain.InboundOnly {
		t.Errorf("%v %+v", c.Proxy.GetProxyMetadata(), c.Drain)
	}
}

func TestZerosThatAreMeant(t *testing.T) {
	c := load(t, Flags{Role: "sidecar"}, Source{Root: t.TempDir(), Environ: injected("PROXY_CONFIG={controlPlaneAuthPolicy: NONE, statusPort: 0, concurrency: 0}")})
	if !c.Discovery.Plaintext || !c.Cert.Plaintext || c.Status.Port != 0 || c.Envoy.Concurrency != 0 {
		t.Errorf("%+v %+v", c.Discovery, c.Status)
	}
}

func TestTheObjectBeatsTheAnnotation(t *testing.T) {
	dir := root(t, map[string]string{"etc/istio/pod/annotations": "proxy.istio.io/config=\"concurrency: 3\\ndrainDuration: 30s\\nbogus: 1\"\n"})
	c := load(t, Flags{Role: "sidecar"}, Source{Root: dir, Environ: injected("PROXY_CONFIG={concurrency: 5}", "PROXY_CONFIG_OVERRIDE={concurrency: 0}")})
	if c.Envoy.Concurrency != 0 || c.Proxy.GetConcurrency() == nil || c.Envoy.DrainTime != 30*time.Second {
		t.Errorf("%+v", c.Envoy)
	}
}

func TestDiscoveryAddressAnnotation(t *testing.T) {
	for _, c := range []struct{ value, want, ignored string }{
		{"canary:15012", "canary:15012", ""},
		{"canary", "istiod.istio-system.svc:15012", `annotation sidecar.istio.io/discoveryAddress: "canary" is not host:port`},
	} {
		dir := root(t, map[string]string{"etc/istio/pod/annotations": "sidecar.istio.io/discoveryAddress=\"" + c.value + "\"\n"})
		got := load(t, Flags{Role: "sidecar"}, Source{Root: dir, Environ: injected()})
		if got.Discovery.Address != c.want || strings.Join(got.Ignored, "") != c.ignored {
			t.Errorf("%s: %s, %q", c.value, got.Discovery.Address, got.Ignored)
		}
	}
}

// TestBadStatisticsDoNotStopThePod: Istio starts such pods, so they must start here.
func TestBadStatisticsDoNotStopThePod(t *testing.T) {
	dir := root(t, map[string]string{"etc/istio/pod/annotations": `sidecar.istio.io/statsEvictionInterval="7s"
sidecar.istio.io/statsHistogramBuckets="1,2"
sidecar.istio.io/statsCompression="gzip"
sidecar.istio.io/extraStatTags="b, a"
`})
	c := load(t, Flags{Role: "sidecar"}, Source{Root: dir, Environ: injected("PROXY_CONFIG={extraStatTags: [a]}")})
	want := []string{
		"annotation sidecar.istio.io/statsEvictionInterval: 7s is no multiple of the flush interval 5s",
		`annotation sidecar.istio.io/statsHistogramBuckets: is not JSON such as {"istiocustom": [1, 5, 10]}: invalid character ',' after top-level value`,
		`annotation sidecar.istio.io/statsCompression: "gzip" has no effect, write true or false: which compression is used the scraper says`,
	}
	if diff := cmp.Diff(want, c.Ignored); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a", "b"}, c.Bootstrap.Stats.Tags); diff != "" || !c.Bootstrap.Compression || c.Bootstrap.Stats.Buckets != nil {
		t.Errorf("%s %+v", diff, c.Bootstrap)
	}
}

func TestServerName(t *testing.T) {
	for _, c := range []struct{ address, san, want string }{
		{"istiod.istio-system.svc:15012", "", "istiod.istio-system.svc"},
		{"localhost:15012", "", "istiod.istio-system.svc"},
		{"10.0.0.1:15012", "istiod.example.org", "istiod.example.org"},
	} {
		got := load(t, Flags{Role: "sidecar"}, Source{Root: t.TempDir(), Environ: injected("ISTIOD_SAN="+c.san, "PROXY_CONFIG={discoveryAddress: '"+c.address+"'}")})
		if got.Discovery.ServerName != c.want {
			t.Errorf("ServerName(%q, %q) = %q, want %q", c.address, c.san, got.Discovery.ServerName, c.want)
		}
	}
}

func TestStatistics(t *testing.T) {
	dir := root(t, map[string]string{"etc/istio/pod/annotations": `sidecar.istio.io/statsInclusionPrefixes="cluster.outbound,listener.{pod_ip}"
sidecar.istio.io/statsFlushInterval="10s"
sidecar.istio.io/statsEvictionInterval="20s"
sidecar.istio.io/statsHistogramBuckets="{\"istio\":[1,5],\"a\":[2]}"
sidecar.istio.io/statsCompression="false"
`})
	c := load(t, Flags{Role: "sidecar"}, Source{Root: dir, Environ: injected("PROXY_CONFIG={proxyStatsMatcher: {inclusionPrefixes: [lost], inclusionSuffixes: [kept]}, runtimeValues: {overload.global_downstream_max_connections: '100'}}")})
	want := bootstrap.Stats{
		Prefixes: []string{"cluster.outbound", "listener.10.244.0.5"}, Suffixes: []string{"kept"}, Regexps: []string{}, Tags: []string{},
		Buckets:       []bootstrap.Buckets{{Prefix: "a", Bounds: []float64{2}}, {Prefix: "istio", Bounds: []float64{1, 5}}},
		FlushInterval: 10 * time.Second, EvictionInterval: 20 * time.Second,
	}
	if diff := cmp.Diff(want, c.Bootstrap.Stats); diff != "" {
		t.Error(diff)
	}
	if c.Bootstrap.Compression || c.Bootstrap.MaxConnections != 100 || len(c.Bootstrap.RuntimeValues) != 0 {
		t.Errorf("%+v", c.Bootstrap)
	}
}

// TestExcludedInterfacesHaveNoAddresses: what is not captured is not the mesh's address.
func TestExcludedInterfacesHaveNoAddresses(t *testing.T) {
	dir := root(t, map[string]string{
		"etc/istio/pod/annotations": "traffic.sidecar.istio.io/excludeInterfaces=\"net1, net2\"\n",
	})
	c := load(t, Flags{Role: "sidecar"}, Source{Root: dir, Environ: injected(), Interfaces: []Interface{
		{"net1", []netip.Addr{netip.MustParseAddr("192.0.2.1")}}, {"net2", []netip.Addr{netip.MustParseAddr("2001:db8::1")}},
		{"eth0", []netip.Addr{netip.MustParseAddr("10.244.0.5")}}, {"net10", []netip.Addr{netip.MustParseAddr("192.0.2.9")}},
	}})
	want := []netip.Addr{netip.MustParseAddr("10.244.0.5"), netip.MustParseAddr("192.0.2.9")}
	if diff := cmp.Diff(want, c.Node.IPs, addrs); diff != "" {
		t.Error(diff)
	}
}

func TestEveryMistakeIsNamedAtOnce(t *testing.T) {
	_, err := Load(Flags{Role: "waypoint", TemplateFile: "x"}, Source{Root: t.TempDir(), Environ: []string{
		"INSTANCE_IP=nope", "HOST_IP=node", "ISTIO_CPU_LIMIT=two", "SECRET_TTL=1 day", "SECRET_GRACE_PERIOD_RATIO=2", "ISTIO_DUAL_STACK=maybe",
		"ENVOY_STATUS_PORT=70000", "PROXY_CONFIG={statusPort: nope}", "ISTIO_KUBE_APP_PROBERS={", "ISTIO_PROMETHEUS_ANNOTATIONS={\"scrape\":\"true\",\"port\":\"015020\"}",
		"WORKLOAD_IDENTITY_SOCKET_FILE=a/b", "CA_PROVIDER=GkeWorkloadCertificate", "CA_ADDR=nowhere", "ISTIO_METAJSON_X=[", "ISTIO_DELTA_XDS=false",
	}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`role "waypoint"`, `INSTANCE_IP: "nope"`, `HOST_IP: "node"`, `ISTIO_CPU_LIMIT: "two"`, `SECRET_TTL: "1 day"`, `SECRET_GRACE_PERIOD_RATIO: "2"`,
		`ISTIO_DUAL_STACK: "maybe"`, `ENVOY_STATUS_PORT: "70000"`, "PROXY_CONFIG:", "ISTIO_KUBE_APP_PROBERS:", "port 15020 belongs to the proxy",
		"WORKLOAD_IDENTITY_SOCKET_FILE", "GkeWorkloadCertificate", `CA_ADDR: "nowhere"`, "ISTIO_METAJSON_X", "ISTIO_DELTA_XDS", "POD_NAME", "bootstrap template",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
}

func TestParseScrape(t *testing.T) {
	for _, c := range []struct {
		in   string
		want *Scrape
	}{
		{"", nil},
		{`{"scrape":"false","port":"80"}`, &Scrape{}},
		{`{"scrape":"true"}`, &Scrape{[]Target{{80, "/metrics"}}}},
		{`{"scrape":"true","port":"9090","path":"m"}`, &Scrape{[]Target{{9090, "/m"}}}},
		{`{"scrape":"true","port":"9090","targets":[{"port":"1"},{"port":"2","path":"/x"}]}`, &Scrape{[]Target{{1, "/metrics"}, {2, "/x"}}}},
		{`{"scrape":"true","port":"8080"}`, &Scrape{[]Target{{8080, "/metrics"}}}},
	} {
		got, err := parseScrape(c.in)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("parseScrape(%s): %v %s", c.in, err, diff)
		}
	}
	for _, in := range []string{`{"scrape":"true","port":"0"}`, `{"scrape":"true","port":"http"}`, `{"scrape":"true","targets":[{"port":"15090"}]}`, `[`} {
		if got, err := parseScrape(in); err == nil {
			t.Errorf("parseScrape(%s) = %+v, want an error", in, got)
		}
	}
}

func TestParseProbers(t *testing.T) {
	got, err := parseProbers(`{"/app-health/a/readyz":{"httpGet":{"path":"/x","port":80,"httpHeaders":[{"name":"n","value":"v"}]},"timeoutSeconds":3},"/app-lifecycle/a/prestopz":{"tcpSocket":{"port":1}},"/app-health/b/livez":{"grpc":{"port":2,"service":"s"}}}`)
	want := map[string]Prober{
		"/app-health/a/readyz":      {HTTPGet: &HTTPGet{Path: "/x", Port: 80, HTTPHeaders: []Header{{"n", "v"}}}, TimeoutSeconds: 3},
		"/app-lifecycle/a/prestopz": {TCPSocket: &TCPSocket{Port: 1}},
		"/app-health/b/livez":       {GRPC: &GRPC{Port: 2, Service: "s"}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for _, in := range []string{
		`{"/app-health/a/other":{"tcpSocket":{"port":1}}}`, `{"/app-health/a/readyz":{}}`, `{"/app-health/a/readyz":{"tcpSocket":{"port":1},"grpc":{"port":1}}}`,
		`{"/app-health/a/readyz":{"httpGet":{"port":"http"}}}`,
	} {
		if got, err := parseProbers(in); err == nil {
			t.Errorf("parseProbers(%s) = %+v, want an error", in, got)
		}
	}
}

func TestLevels(t *testing.T) {
	for _, c := range []struct{ levels, components, level, per string }{
		{"", "", "warning", ""}, {"info", "", "info", ""}, {"debug,misc:error", "rbac:trace", "debug", "misc:error,rbac:trace"}, {"misc:error", "", "warning", "misc:error"},
	} {
		if level, per := logLevels(c.levels, c.components); level != c.level || per != c.per {
			t.Errorf("logLevels(%q, %q) = %q, %q", c.levels, c.components, level, per)
		}
	}
	for in, want := range map[string]string{"": "info", "default:info": "info", "ca:debug,default:warn": "warn", "error": "error", "all:none": "none", "ca:debug": "info"} {
		if got := agentLevel(in); got != want {
			t.Errorf("agentLevel(%q) = %q, want %q", in, got, want)
		}
	}
}
