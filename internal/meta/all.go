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
	// Doc is one sentence: the effect.
	Doc string
}

// All lists every name, grouped by kind and purpose; the list is new at each call.
func All() []Name {
	var out []Name
	for _, group := range [][]Name{selection(), labels(), containers(), metrics(), traffic(), written(), environment()} {
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
		{Injection, Label, "Namespace", "enabled | disabled", "", "Pods of the namespace are injected by the default revision; any other value keeps every revision away."},
		{Revision, Label, "Namespace, Pod", "revision or tag", "", "Selects the revision that injects; a namespace's choice wins over a pod's."},
		{Inject, Label, "Pod", "true | false", "", "Opts a pod in or out."},
		{Inject, Annotation, "Pod", "true | false", "", "Deprecated form of the label; not seen by the API server's selectors, ignored where the label exists."},
		{Tag, Label, "MutatingWebhookConfiguration", "tag", "", "Marks the webhook of a revision tag."},
		{BreakGlass, Annotation, "Pod", "the reason, not empty", "", "With the guard breakGlass on, lets the pod run without a proxy while the injector is down."},
	}
}

func labels() []Name {
	return []Name{
		{TLSMode, Label, "Pod", "istio | disabled", "istio, set by injection", "Tells clients whether the workload accepts mutual TLS."},
		{Tunnel, Label, "Pod", "http", "", "Set by injection when the proxy accepts HBONE."},
		{CanonicalName, Label, "Pod", "label value", AppName + ", " + App + ", workload name", "Name of the workload in metrics and traces."},
		{CanonicalRevision, Label, "Pod", "label value", AppVersion + ", " + Version + ", latest", "Revision of the workload in metrics and traces."},
		{WorkloadName, Label, "Pod", "label value", "name of the owner", "Overrides the workload name that the proxy reports."},
		{Network, Label, "Pod", "network name", "global.network", "The network that the pod's addresses belong to."},
		{Cluster, Label, "Pod", "cluster name", "global.multiCluster.clusterName", "The cluster that the workload runs in."},
		{Locality, Label, "Pod", "region.zone.subzone", "the node's", "Overrides the place of the workload, read by the agent."},
	}
}

func containers() []Name {
	return []Name{
		{Templates, Annotation, "Pod", "sidecar | gateway", "sidecar", "What is injected."},
		{ProxyConfig, Annotation, "Pod", "ProxyConfig as YAML", "mesh defaultConfig", "Settings of this pod's proxy, laid over the mesh's."},
		{InterceptionMode, Annotation, "Pod", "REDIRECT | NONE", "ProxyConfig.interceptionMode", "How inbound traffic reaches the proxy; NONE installs no rules."},
		{ProxyImage, Annotation, "Pod", "image", "global.proxy.image", "Image of proxy and init container; a name without slash is completed with hub and tag."},
		{ProxyImageType, Annotation, "Pod", "distroless | debug | default", "ProxyConfig.image.imageType", "Suffix of the image tag."},
		{ProxyCPU, Annotation, "Pod", "quantity", "global.proxy.resources", "CPU request; any of the four resource annotations replaces all defaults."},
		{ProxyMemory, Annotation, "Pod", "quantity", "global.proxy.resources", "Memory request."},
		{ProxyCPULimit, Annotation, "Pod", "quantity", "global.proxy.resources", "CPU limit."},
		{ProxyMemoryLimit, Annotation, "Pod", "quantity", "global.proxy.resources", "Memory limit."},
		{LogLevel, Annotation, "Pod", "trace | debug | info | warning | error | critical | off", "global.proxy.logLevel", "Envoy's log level."},
		{ComponentLogLevel, Annotation, "Pod", "component:level, …", "global.proxy.componentLogLevel", "Envoy's log level by component."},
		{AgentLogLevel, Annotation, "Pod", "scope:level, …", "default:info", "Log level of the agent and the init container."},
		{NativeSidecar, Annotation, "Pod", "true | false", "what the nodes support", "Whether the proxy is a restartable init container."},
		{RewriteProbes, Annotation, "Pod", "bool", "sidecarInjectorWebhook.rewriteAppHTTPProbe", "Whether the kubelet's probes go through the agent."},
		{StatusPort, Annotation, "Pod", "0 to 65535", "15020", "Port of the agent; 0 leaves out probes, drain hook and metrics merge."},
		{ReadyInitialDelay, Annotation, "Pod", "seconds", "0", "Readiness probe of the proxy."},
		{ReadyPeriod, Annotation, "Pod", "seconds", "15", "Readiness probe of the proxy."},
		{ReadyFailures, Annotation, "Pod", "count", "4", "Readiness probe of the proxy."},
		{DiscoveryAddress, Annotation, "Pod", "host:port", "ProxyConfig.discoveryAddress", "Deprecated: control plane address, read by the agent."},
	}
}

func metrics() []Name {
	return []Name{
		{MergeMetrics, Annotation, "Pod", "bool", "mesh enablePrometheusMerge", "Whether the agent serves the application's metrics beside its own."},
		{ScrapeTargets, Annotation, "Pod", "port:path, …", "", "Metric endpoints of the application that the agent merges."},
		{PrometheusScrape, Annotation, "Pod", "bool", "", "Rewritten to the agent's merged endpoint; false turns merging off."},
		{PrometheusPort, Annotation, "Pod", "port", "", "Rewritten to the agent's port."},
		{PrometheusPath, Annotation, "Pod", "path", "", "Rewritten to /stats/prometheus."},
		{StatsPrefixes, Annotation, "Pod", "prefix, …", "", "Deprecated: Envoy statistics to keep, read by the agent."},
		{StatsSuffixes, Annotation, "Pod", "suffix, …", "", "Deprecated: Envoy statistics to keep, read by the agent."},
		{StatsRegexps, Annotation, "Pod", "regexp, …", "", "Deprecated: Envoy statistics to keep, read by the agent."},
		{StatsTags, Annotation, "Pod", "tag, …", "", "Deprecated: further tags of Envoy statistics, read by the agent."},
		{StatsBuckets, Annotation, "Pod", "JSON, prefix to bounds", "", "Histogram buckets of Envoy, read by the agent."},
		{StatsFlushInterval, Annotation, "Pod", "duration", "5s", "How often Envoy flushes statistics, read by the agent."},
		{StatsEviction, Annotation, "Pod", "multiple of the flush interval", "", "How often Envoy forgets unused statistics, read by the agent."},
		{StatsCompression, Annotation, "Pod", "brotli | gzip | zstd", "", "Compression of Envoy's statistics, read by the agent."},
		{SecureMetricsPort, Annotation, "Pod", "port", "", "A hint for scrapers that use mutual TLS; Sluice itself does not read it."},
	}
}

func traffic() []Name {
	return []Name{
		{IncludeOutboundIPRanges, Annotation, "Pod", "* or IP ranges", "*", "Destinations whose traffic passes the proxy; empty for none."},
		{ExcludeOutboundIPRanges, Annotation, "Pod", "IP ranges", "", "Destinations that bypass the proxy."},
		{IncludeInboundPorts, Annotation, "Pod", "* or ports", "*", "Local ports whose traffic passes the proxy; empty for none."},
		{ExcludeInboundPorts, Annotation, "Pod", "ports", "", "Local ports that bypass the proxy; only with includeInboundPorts *."},
		{IncludeOutboundPorts, Annotation, "Pod", "ports", "", "Remote ports that pass the proxy whatever the address."},
		{ExcludeOutboundPorts, Annotation, "Pod", "ports", "", "Remote ports that bypass the proxy."},
	}
}

func written() []Name {
	return []Name{
		{Status, Annotation, "Pod", "JSON", "", "Written by injection: what was added. Its presence says that the pod is injected."},
		{Overrides, Annotation, "Pod", "JSON", "", "Written by injection: the user's own version of injected containers."},
		{Revision, Annotation, "Pod", "revision", "", "Written by injection: the revision that injected the pod."},
		{DefaultContainer, Annotation, "Pod", "container", "first container of the user", "Written by injection unless set."},
		{DefaultLogsContainer, Annotation, "Pod", "container", "first container of the user", "Written by injection unless set."},
	}
}

func environment() []Name {
	const proxy = ProxyContainer
	return []Name{
		{EnvLocalhostProbes, Environment, proxy, "true", "", "The agent sends application probes to localhost instead of the pod's address."},
		{EnvCertProvider, Environment, proxy, "istiod", "istiod", "Who signs the certificate of the control plane."},
		{EnvCAAddress, Environment, proxy, "host:port", "discovery address", "Where the agent gets its certificate signed."},
		{EnvPodName, Environment, proxy, "name", "", "From the downward API."},
		{EnvPodNamespace, Environment, proxy, "namespace", "", "From the downward API."},
		{EnvInstanceIP, Environment, proxy, "address", "", "From the downward API."},
		{EnvServiceAccount, Environment, proxy, "name", "", "From the downward API."},
		{EnvHostIP, Environment, proxy, "address", "", "From the downward API."},
		{EnvCPULimit, Environment, proxy, "cores", "", "CPU limit of the container, rounded up; sets Envoy's worker threads."},
		{EnvProxyConfig, Environment, proxy, "ProxyConfig as JSON", "{}", "The proxy's settings where they differ from the built-in ones."},
		{EnvPodPorts, Environment, proxy, "JSON list", "[]", "Ports that the pod's containers declare."},
		{EnvAppContainers, Environment, proxy, "name, …", "", "The pod's own containers."},
		{EnvMemoryLimit, Environment, proxy, "bytes", "", "Memory limit of the container; the agent's soft limit."},
		{EnvClusterID, Environment, proxy, "name", "Kubernetes", "Cluster of the workload."},
		{EnvNodeName, Environment, proxy, "name", "", "From the downward API."},
		{EnvInterceptionMode, Environment, proxy, "REDIRECT | NONE", "", "How inbound traffic reaches the proxy."},
		{EnvNetwork, Environment, proxy, "name", "", "Network of the workload."},
		{EnvWorkloadName, Environment, proxy, "name", "", "Name of the pod's owner."},
		{EnvOwner, Environment, proxy, "kubernetes://…", "", "Reference of the pod's owner."},
		{EnvMeshID, Environment, proxy, "name", "trust domain", "Mesh of the workload."},
		{EnvTrustDomain, Environment, proxy, "domain", "cluster.local", "Trust domain of the workload's identity."},
		{EnvHBONE, Environment, proxy, "true", "", "From proxyMetadata: the proxy accepts HBONE."},
		{EnvPrometheusAnnotations, Environment, proxy, "JSON", "", "The application's own metric endpoints."},
		{EnvAppProbers, Environment, proxy, "JSON", "", "The application's own probes and HTTP hooks, by path at the agent."},
	}
}
