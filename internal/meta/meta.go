// Package meta names every label, annotation and environment variable that Sluice reads
// or writes on users' objects, with what each one means.
//
// The names are contracts with users' manifests; no other package writes them as
// literals. The reference page is generated from All, and the injector takes its list of
// known names from there. The package is pure and imports nothing.
package meta

// Labels and annotations that decide whether and by whom a pod is injected.
const (
	Injection = "istio-injection"         // namespace label
	Revision  = "istio.io/rev"            // label: selection; pod annotation: the revision that injected
	Inject    = "sidecar.istio.io/inject" // pod label, or (deprecated) pod annotation
	Tag       = "istio.io/tag"            // label of a revision tag's webhook configuration
	Dataplane = "istio.io/dataplane-mode" // label of ambient meshes
)

// BreakGlass is the pod annotation that lets a pod of the mesh run without a proxy while the
// injector is down, where the chart's breakGlass guard is on; its value is the reason.
const BreakGlass = "sluicemesh.io/break-glass"

// Annotations that configure the injected containers.
const (
	Status             = "sidecar.istio.io/status"
	Overrides          = "proxy.istio.io/overrides"
	Templates          = "inject.istio.io/templates"
	ProxyConfig        = "proxy.istio.io/config"
	InterceptionMode   = "sidecar.istio.io/interceptionMode"
	ProxyImage         = "sidecar.istio.io/proxyImage"
	ProxyImageType     = "sidecar.istio.io/proxyImageType"
	ProxyCPU           = "sidecar.istio.io/proxyCPU"
	ProxyCPULimit      = "sidecar.istio.io/proxyCPULimit"
	ProxyMemory        = "sidecar.istio.io/proxyMemory"
	ProxyMemoryLimit   = "sidecar.istio.io/proxyMemoryLimit"
	LogLevel           = "sidecar.istio.io/logLevel"
	ComponentLogLevel  = "sidecar.istio.io/componentLogLevel"
	AgentLogLevel      = "sidecar.istio.io/agentLogLevel"
	NetBindService     = "sidecar.istio.io/capNetBindService"
	BootstrapOverride  = "sidecar.istio.io/bootstrapOverride"
	UserVolume         = "sidecar.istio.io/userVolume"
	UserVolumeMount    = "sidecar.istio.io/userVolumeMount"
	NativeSidecar      = "sidecar.istio.io/nativeSidecar"
	RewriteProbes      = "sidecar.istio.io/rewriteAppHTTPProbers"
	StatusPort         = "status.sidecar.istio.io/port"
	ReadyInitialDelay  = "readiness.status.sidecar.istio.io/initialDelaySeconds"
	ReadyPeriod        = "readiness.status.sidecar.istio.io/periodSeconds"
	ReadyFailures      = "readiness.status.sidecar.istio.io/failureThreshold"
	ReadyPorts         = "readiness.status.sidecar.istio.io/applicationPorts"
	MergeMetrics       = "prometheus.istio.io/merge-metrics"
	ScrapeTargets      = "prometheus.istio.io/scrape-targets"
	DiscoveryAddress   = "sidecar.istio.io/discoveryAddress"
	StatsPrefixes      = "sidecar.istio.io/statsInclusionPrefixes"
	StatsSuffixes      = "sidecar.istio.io/statsInclusionSuffixes"
	StatsRegexps       = "sidecar.istio.io/statsInclusionRegexps"
	StatsTags          = "sidecar.istio.io/extraStatTags"
	StatsBuckets       = "sidecar.istio.io/statsHistogramBuckets"
	StatsFlushInterval = "sidecar.istio.io/statsFlushInterval"
	StatsEviction      = "sidecar.istio.io/statsEvictionInterval"
	StatsBins          = "sidecar.istio.io/statsHistogramBins"
	StatsCompression   = "sidecar.istio.io/statsCompression"
	SecureMetricsPort  = "prometheus.istio.io/secure-port"
)

// Annotations that select the traffic to capture.
const (
	IncludeOutboundIPRanges = "traffic.sidecar.istio.io/includeOutboundIPRanges"
	ExcludeOutboundIPRanges = "traffic.sidecar.istio.io/excludeOutboundIPRanges"
	IncludeInboundPorts     = "traffic.sidecar.istio.io/includeInboundPorts"
	ExcludeInboundPorts     = "traffic.sidecar.istio.io/excludeInboundPorts"
	IncludeOutboundPorts    = "traffic.sidecar.istio.io/includeOutboundPorts"
	ExcludeOutboundPorts    = "traffic.sidecar.istio.io/excludeOutboundPorts"
	ExcludeInterfaces       = "traffic.sidecar.istio.io/excludeInterfaces"
	KubevirtInterfaces      = "traffic.sidecar.istio.io/kubevirtInterfaces"
	VirtualInterfaces       = "istio.io/reroute-virtual-interfaces"
)

// Labels that describe a workload to the mesh.
const (
	TLSMode           = "security.istio.io/tlsMode"
	Tunnel            = "networking.istio.io/tunnel"
	CanonicalName     = "service.istio.io/canonical-name"
	CanonicalRevision = "service.istio.io/canonical-revision"
	WorkloadName      = "service.istio.io/workload-name"
	Network           = "topology.istio.io/network"
	Cluster           = "topology.istio.io/cluster"
	Locality          = "topology.istio.io/locality"
)

// Annotations that add to what the proxy says of itself in traces and to other tools.
const (
	OTELNamespace = "resource.opentelemetry.io/service.namespace"
	OTELVersion   = "resource.opentelemetry.io/service.version"
	OTELInstance  = "resource.opentelemetry.io/service.instance.id"
	DatadogEnv    = "apm.datadoghq.com/env"
	Networks      = "k8s.v1.cni.cncf.io/networks"
)

// Annotations of namespaces, written by OpenShift: the ids that pods there may have.
const (
	OpenShiftUIDs   = "openshift.io/sa.scc.uid-range"
	OpenShiftGroups = "openshift.io/sa.scc.supplemental-groups"
)

// Names of other projects that the injector reads or writes.
const (
	AppName                 = "app.kubernetes.io/name"
	AppVersion              = "app.kubernetes.io/version"
	App                     = "app"
	Version                 = "version"
	PrometheusScrape        = "prometheus.io/scrape"
	PrometheusPort          = "prometheus.io/port"
	PrometheusPath          = "prometheus.io/path"
	DefaultContainer        = "kubectl.kubernetes.io/default-container"
	DefaultLogsContainer    = "kubectl.kubernetes.io/default-logs-container"
	PodTemplateHash         = "pod-template-hash"
	RolloutsPodTemplateHash = "rollouts-pod-template-hash"
	DeploymentConfig        = "deploymentconfig"
)

// Environment variables that the injector sets and the agent reads.
const (
	EnvLocalhostProbes       = "REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION"
	EnvCertProvider          = "PILOT_CERT_PROVIDER"
	EnvCAAddress             = "CA_ADDR"
	EnvPodName               = "POD_NAME"
	EnvPodNamespace          = "POD_NAMESPACE"
	EnvInstanceIP            = "INSTANCE_IP"
	EnvServiceAccount        = "SERVICE_ACCOUNT"
	EnvHostIP                = "HOST_IP"
	EnvCPULimit              = "ISTIO_CPU_LIMIT"
	EnvProxyConfig           = "PROXY_CONFIG"
	EnvProxyConfigOverride   = "PROXY_CONFIG_OVERRIDE"
	EnvPodPorts              = "ISTIO_META_POD_PORTS"
	EnvAppContainers         = "ISTIO_META_APP_CONTAINERS"
	EnvMemoryLimit           = "GOMEMLIMIT"
	EnvClusterID             = "ISTIO_META_CLUSTER_ID"
	EnvNodeName              = "ISTIO_META_NODE_NAME"
	EnvInterceptionMode      = "ISTIO_META_INTERCEPTION_MODE"
	EnvNetwork               = "ISTIO_META_NETWORK"
	EnvWorkloadName          = "ISTIO_META_WORKLOAD_NAME"
	EnvOwner                 = "ISTIO_META_OWNER"
	EnvMeshID                = "ISTIO_META_MESH_ID"
	EnvTrustDomain           = "TRUST_DOMAIN"
	EnvHBONE                 = "ISTIO_META_ENABLE_HBONE"
	EnvPrometheusAnnotations = "ISTIO_PROMETHEUS_ANNOTATIONS"
	EnvAppProbers            = "ISTIO_KUBE_APP_PROBERS"
	EnvCompliance            = "COMPLIANCE_POLICY"
	EnvGoDebug               = "GODEBUG"
	EnvBootstrapOverride     = "ISTIO_BOOTSTRAP_OVERRIDE"
	EnvPodUID                = "POD_UID"
	EnvOTELAttributes        = "OTEL_RESOURCE_ATTRIBUTES"
	EnvSecureMetricsPort     = "ENVOY_SECURE_MERGED_METRICS_PORT"
	EnvTraceLogging          = "IPTABLES_TRACE_LOGGING"
)

// Names of the containers that the injector adds.
const (
	ProxyContainer      = "istio-proxy"
	InitContainer       = "istio-init"
	ValidationContainer = "istio-validation" // in the init container's place where a CNI plugin installs the rules
)
