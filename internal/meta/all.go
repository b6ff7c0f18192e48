package meta

import "strings"

// Kind says what sort of name a Name is.
type Kind string

// The kinds of names.
const (
	Label       Kind = "label"
	Annotation  Kind = "annotation"
	Environment Kind = "env"
)

// Name describes one label, annotation or environment variable.
type Name struct {
	Name string
	Kind Kind
	// On is the object that carries the name: "Namespace", "Pod", "istio-proxy", …
	On string
	// Values is the accepted form, as a user would be told it.
	Values string
	// Default is what holds where the name is absent; empty for nothing.
	Default string
	// Doc is one or two sentences: the effect.
	Doc string
	// Bad is what becomes of a pod whose value cannot be read.
	Bad Verdict
}

// Verdict is what a value that cannot be read leads to.
type Verdict string

// The verdicts.
const (
	Refused   Verdict = "pod refused"            // no guess would be safe
	Warned    Verdict = "warning, default holds" // as in Istio, with a word
	Tolerated Verdict = ""                       // any text is good, or nobody checks
)

// All lists every name, grouped by kind and purpose; the list is new at each call.
func All() []Name {
	var out []Name
	for _, group := range [][]Name{
		selection(), labels(), choices(), containers(), logging(), resources(), probes(),
		metrics(), statistics(), telemetry(), traffic(), written(), platform(), environment(),
	} {
		out = append(out, group...)
	}
	return out
}

// Prefixes lists the annotation prefixes that belong to Sluice: an annotation below one
// of them that All does not list is a mistake. Longer prefixes come first.
func Prefixes() []string {
	return []string{
		"readiness.status.sidecar.istio.io/", "status.sidecar.istio.io/", "traffic.sidecar.istio.io/",
		"sidecar.istio.io/", "proxy.istio.io/", "inject.istio.io/", "prometheus.istio.io/", "sluicemesh.io/",
	}
}

// Owned reports whether an annotation key lies below one of Prefixes.
func Owned(key string) bool {
	for _, p := range Prefixes() {
		if strings.HasPrefix(key, p) {
			return true
		}
	}
	return false
}

func selection() []Name {
	return []Name{
		{Injection, Label, "Namespace", "enabled | disabled", "", "Pods of the namespace are injected by the default revision; any other value keeps every revision away.", Tolerated},
		{Revision, Label, "Namespace, Pod", "revision or tag", "", "Selects the revision that injects; a namespace's choice wins over a pod's.", Tolerated},
		{Inject, Label, "Pod", "true | false", "", "Opts a pod in or out.", Warned},
		{Dataplane, Label, "Namespace, Pod", "none | ambient", "", "Of ambient meshes; Sluice reads it nowhere.", Tolerated},
		{Tag, Label, "MutatingWebhookConfiguration", "tag", "", "Marks the webhook of a revision tag.", Tolerated},
		{BreakGlass, Annotation, "Pod", "the reason, not empty", "", "With the guard breakGlass on, lets the pod run without a proxy while the injector is down.", Tolerated},
	}
}

func labels() []Name {
	return []Name{
		{TLSMode, Label, "Pod", "istio | disabled", "istio, set by injection", "Tells clients whether the workload accepts mutual TLS.", Tolerated},
		{Tunnel, Label, "Pod", "http", "", "Set by injection when the proxy accepts HBONE.", Tolerated},
		{CanonicalName, Label, "Pod", "label value", AppName + ", " + App + ", workload name", "Name of the workload in metrics and traces.", Tolerated},
		{CanonicalRevision, Label, "Pod", "label value", AppVersion + ", " + Version + ", latest", "Revision of the workload in metrics and traces.", Tolerated},
		{WorkloadName, Label, "Pod", "label value", "name of the owner", "Overrides the workload name that the proxy reports.", Tolerated},
		{Network, Label, "Pod", "network name", "global.network", "The network that the pod's addresses belong to.", Tolerated},
		{Cluster, Label, "Pod", "cluster name", "global.multiCluster.clusterName", "The cluster that the workload runs in.", Tolerated},
		{Locality, Label, "Pod", "region.zone.subzone", "the node's", "Overrides the place of the workload, read by the agent.", Tolerated},
	}
}

func environment() []Name {
	const proxy = ProxyContainer
	return []Name{
		{EnvLocalhostProbes, Environment, proxy, "true", "", "The agent sends application probes to localhost instead of the pod's address.", Tolerated},
		{EnvCertProvider, Environment, proxy, "istiod", "istiod", "Who signs the certificate of the control plane.", Tolerated},
		{EnvCAAddress, Environment, proxy, "host:port", "discovery address", "Where the agent gets its certificate signed.", Tolerated},
		{EnvPodName, Environment, proxy, "name", "", "From the downward API.", Tolerated},
		{EnvPodNamespace, Environment, proxy, "namespace", "", "From the downward API.", Tolerated},
		{EnvInstanceIP, Environment, proxy, "address", "", "From the downward API.", Tolerated},
		{EnvServiceAccount, Environment, proxy, "name", "", "From the downward API.", Tolerated},
		{EnvHostIP, Environment, proxy, "address", "", "From the downward API.", Tolerated},
		{EnvCPULimit, Environment, proxy, "cores", "", "CPU limit of the container, rounded up; sets Envoy's worker threads.", Tolerated},
		{EnvProxyConfig, Environment, proxy, "ProxyConfig as JSON", "{}", "The proxy's settings where they differ from the built-in ones.", Tolerated},
		{EnvProxyConfigOverride, Environment, proxy, "ProxyConfig as JSON", "", "What a ProxyConfig object that selects the workload says; the agent lays it over the annotation proxy.istio.io/config.", Tolerated},
		{EnvPodPorts, Environment, proxy, "JSON list", "[]", "Ports that the pod's containers declare.", Tolerated},
		{EnvAppContainers, Environment, proxy, "name, …", "", "The pod's own containers.", Tolerated},
		{EnvMemoryLimit, Environment, proxy, "bytes", "", "Memory limit of the container; the agent's soft limit.", Tolerated},
		{EnvClusterID, Environment, proxy, "name", "Kubernetes", "Cluster of the workload.", Tolerated},
		{EnvNodeName, Environment, proxy, "name", "", "From the downward API.", Tolerated},
		{EnvInterceptionMode, Environment, proxy, "REDIRECT | TPROXY | NONE", "", "How inbound traffic reaches the proxy.", Tolerated},
		{EnvNetwork, Environment, proxy, "name", "", "Network of the workload.", Tolerated},
		{EnvWorkloadName, Environment, proxy, "name", "", "Name of the pod's owner.", Tolerated},
		{EnvOwner, Environment, proxy, "kubernetes://…", "", "Reference of the pod's owner.", Tolerated},
		{EnvMeshID, Environment, proxy, "name", "trust domain", "Mesh of the workload.", Tolerated},
		{EnvTrustDomain, Environment, proxy, "domain", "cluster.local", "Trust domain of the workload's identity.", Tolerated},
		{EnvHBONE, Environment, proxy, "true", "", "From proxyMetadata: the proxy accepts HBONE.", Tolerated},
		{EnvPrometheusAnnotations, Environment, proxy, "JSON", "", "The application's own metric endpoints.", Tolerated},
		{EnvCompliance, Environment, proxy, "fips-140-2 | fips-140-3 | pqc", "", "The control plane's own setting, handed on; fips-140-3 also sets " + EnvGoDebug + ".", Tolerated},
		{EnvGoDebug, Environment, proxy, "fips140=only", "", "With fips-140-3: the agent uses approved algorithms only.", Tolerated},
		{EnvBootstrapOverride, Environment, proxy, "file", "", "From the annotation " + BootstrapOverride + ": what Envoy merges over its bootstrap.", Tolerated},
		{EnvPodUID, Environment, proxy, "uid", "", "From the downward API, where " + EnvOTELAttributes + " needs it.", Tolerated},
		{EnvOTELAttributes, Environment, proxy, "name=value, …", "", "Attributes of the workload in traces, where a provider asks for OpenTelemetry's names.", Tolerated},
		{EnvSecureMetricsPort, Environment, proxy, "port", "", "From proxyMetadata: where Envoy serves metrics over mutual TLS; injection names it in " + SecureMetricsPort + ".", Tolerated},
		{EnvTraceLogging, Environment, proxy, "true", "", "From proxyMetadata: the proxy runs privileged, to read the kernel's trace of rules.", Tolerated},
		{EnvAppProbers, Environment, proxy, "JSON", "", "The application's own probes and HTTP hooks, by path at the agent.", Tolerated},
	}
}
