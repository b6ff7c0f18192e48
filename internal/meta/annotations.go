package meta

func choices() []Name {
	return []Name{
		{Inject, Annotation, "Pod", "true | false", "", "Deprecated form of the label; not seen by the API server's selectors, ignored where the label exists.", Warned},
		{Templates, Annotation, "Pod", "template, …", "sidecar", "What is injected, by the names of templates; gateway is for ingress and egress gateways.", Refused},
		{ProxyConfig, Annotation, "Pod", "ProxyConfig as YAML", "mesh defaultConfig", "Settings of this pod's proxy, laid over the mesh's; an unknown field is a warning.", Refused},
		{NativeSidecar, Annotation, "Pod", "true | false", "what the nodes support", "Whether the proxy is a restartable init container; any other word is taken as true.", Warned},
	}
}

func containers() []Name {
	return []Name{
		{ProxyImage, Annotation, "Pod", "image", "global.proxy.image", "Image of proxy and init container; a name without slash is completed with hub and tag.", Refused},
		{ProxyImageType, Annotation, "Pod", "distroless | debug | default", "ProxyConfig.image.imageType", "Suffix of the image tag; any word that a tag may hold is taken.", Refused},
		{NetBindService, Annotation, "Pod", "true | false", "false", "Lets the proxy listen on ports below 1024: it runs as user 0 with the capability NET_BIND_SERVICE.", Warned},
		{BootstrapOverride, Annotation, "Pod", "ConfigMap name", "", "Mounts the ConfigMap; Envoy merges its key custom_bootstrap.json over the bootstrap.", Refused},
		{UserVolume, Annotation, "Pod", "JSON, name to volume, or list of volumes", "", "Adds volumes to the pod.", Refused},
		{UserVolumeMount, Annotation, "Pod", "JSON, name to mount, or list of mounts", "", "Adds mounts to the proxy.", Refused},
		{DiscoveryAddress, Annotation, "Pod", "host:port", "ProxyConfig.discoveryAddress", "Deprecated: address of the control plane, read by the agent.", Warned},
	}
}

func logging() []Name {
	return []Name{
		{LogLevel, Annotation, "Pod", "trace | debug | info | warning | error | critical | off", "global.proxy.logLevel, warning", "Envoy's log level; component:level may follow after commas.", Refused},
		{ComponentLogLevel, Annotation, "Pod", "component:level, …", "global.proxy.componentLogLevel, misc:error", "Envoy's log level by component.", Refused},
		{AgentLogLevel, Annotation, "Pod", "level, or scope:level, …; levels debug | info | warn | error | fatal | none", "global.logging.level, default:info", "Log level of the agent and the init container.", Refused},
	}
}

func resources() []Name {
	return []Name{
		{ProxyCPU, Annotation, "Pod", "quantity", "global.proxy.resources, 100m", "CPU request; any of the four resource annotations replaces all defaults.", Refused},
		{ProxyMemory, Annotation, "Pod", "quantity", "global.proxy.resources, 128Mi", "Memory request.", Refused},
		{ProxyCPULimit, Annotation, "Pod", "quantity", "global.proxy.resources, 2", "CPU limit.", Refused},
		{ProxyMemoryLimit, Annotation, "Pod", "quantity", "global.proxy.resources, 1Gi", "Memory limit.", Refused},
	}
}

func probes() []Name {
	return []Name{
		{RewriteProbes, Annotation, "Pod", "bool", "sidecarInjectorWebhook.rewriteAppHTTPProbe, true", "Whether the kubelet's probes go through the agent.", Warned},
		{StatusPort, Annotation, "Pod", "0 to 65535", "mesh defaultConfig.statusPort, 15020", "Port of the agent; 0 leaves out probes, drain hook and metrics merge.", Refused},
		{ReadyInitialDelay, Annotation, "Pod", "seconds", "0", "Readiness probe of the proxy.", Refused},
		{ReadyPeriod, Annotation, "Pod", "seconds", "15", "Readiness probe of the proxy.", Refused},
		{ReadyFailures, Annotation, "Pod", "count", "4", "Readiness probe of the proxy.", Refused},
		{ReadyPorts, Annotation, "Pod", "ports", "", "Has no effect, a warning says so: the application's own probes tell whether it is ready.", Tolerated},
	}
}

func metrics() []Name {
	return []Name{
		{MergeMetrics, Annotation, "Pod", "bool", "mesh enablePrometheusMerge, true", "Whether the agent serves the application's metrics beside its own.", Refused},
		{ScrapeTargets, Annotation, "Pod", "port:path, …", "", "Metric endpoints of the application that the agent merges; a reserved port refuses the pod, a malformed entry is left out.", Warned},
		{PrometheusScrape, Annotation, "Pod", "bool", "", "Rewritten to the agent's merged endpoint; false turns merging off.", Tolerated},
		{PrometheusPort, Annotation, "Pod", "port", "", "Rewritten to the agent's port; must not be a port of the proxy's.", Refused},
		{PrometheusPath, Annotation, "Pod", "path", "/metrics", "Rewritten to /stats/prometheus.", Tolerated},
		{SecureMetricsPort, Annotation, "Pod", "port", "", "A hint for scrapers that use mutual TLS; Sluice itself does not read it.", Warned},
	}
}

func statistics() []Name {
	return []Name{
		{StatsPrefixes, Annotation, "Pod", "prefix, …", "ProxyConfig.proxyStatsMatcher", "Deprecated: Envoy statistics to keep, read by the agent; {pod_ip} stands for each address of the pod.", Tolerated},
		{StatsSuffixes, Annotation, "Pod", "suffix, …", "ProxyConfig.proxyStatsMatcher", "Deprecated: Envoy statistics to keep, read by the agent.", Tolerated},
		{StatsRegexps, Annotation, "Pod", "regexp, …", "ProxyConfig.proxyStatsMatcher", "Deprecated: Envoy statistics to keep, read by the agent; Envoy would not start with a broken one.", Refused},
		{StatsTags, Annotation, "Pod", "tag, …", "ProxyConfig.extraStatTags", "Deprecated: further tags of Envoy statistics, read by the agent.", Warned},
		{StatsBuckets, Annotation, "Pod", "JSON, prefix to bounds above 0", "Envoy's", "Histogram buckets of Envoy statistics, read by the agent.", Warned},
		{StatsFlushInterval, Annotation, "Pod", "duration, 1ms to less than 5m", "5s", "How often Envoy flushes statistics, read by the agent.", Warned},
		{StatsEviction, Annotation, "Pod", "duration, a multiple of the flush interval", "", "How often Envoy forgets unused statistics, read by the agent.", Warned},
		{StatsBins, Annotation, "Pod", "number", "", "Has no effect, a warning says so: no agent reads it.", Tolerated},
		{StatsCompression, Annotation, "Pod", "bool", "ProxyConfig.statsCompression, true", "Whether Envoy compresses its statistics for scrapers that ask for it; names of algorithms have no effect, scrapers choose.", Warned},
	}
}

func telemetry() []Name {
	return []Name{
		{OTELNamespace, Annotation, "Pod", "text", "pod's namespace", "service.namespace in traces, where a provider asks for OpenTelemetry's names.", Tolerated},
		{OTELVersion, Annotation, "Pod", "text", AppVersion, "service.version in traces, where a provider asks for OpenTelemetry's names.", Tolerated},
		{OTELInstance, Annotation, "Pod", "text", "pod's uid", "service.instance.id in traces, where a provider asks for OpenTelemetry's names.", Tolerated},
		{DatadogEnv, Annotation, "Pod", "JSON, name to value", "", "Further environment of the proxy where the tracer is Datadog.", Warned},
	}
}

func traffic() []Name {
	return []Name{
		{InterceptionMode, Annotation, "Pod", "REDIRECT | TPROXY | NONE", "ProxyConfig.interceptionMode, REDIRECT", "How inbound traffic reaches the proxy; NONE installs no rules.", Refused},
		{IncludeOutboundIPRanges, Annotation, "Pod", "* or IP ranges", "global.proxy.includeIPRanges, *", "Destinations whose traffic passes the proxy; empty for none.", Refused},
		{ExcludeOutboundIPRanges, Annotation, "Pod", "IP ranges", "global.proxy.excludeIPRanges", "Destinations that bypass the proxy.", Refused},
		{IncludeInboundPorts, Annotation, "Pod", "* or ports", "global.proxy.includeInboundPorts, *", "Local ports whose traffic passes the proxy; empty for none.", Refused},
		{ExcludeInboundPorts, Annotation, "Pod", "ports", "global.proxy.excludeInboundPorts", "Local ports that bypass the proxy; only with includeInboundPorts *. The proxy's own are always among them.", Refused},
		{IncludeOutboundPorts, Annotation, "Pod", "ports", "global.proxy.includeOutboundPorts", "Remote ports that pass the proxy whatever the address.", Refused},
		{ExcludeOutboundPorts, Annotation, "Pod", "ports", "global.proxy.excludeOutboundPorts", "Remote ports that bypass the proxy, TCP and UDP.", Refused},
		{ExcludeInterfaces, Annotation, "Pod", "interfaces", "", "Network interfaces whose traffic bypasses the proxy; the agent leaves out their addresses.", Refused},
		{VirtualInterfaces, Annotation, "Pod", "interfaces", "", "Interfaces of virtual machines or containers inside the pod: what enters by them is treated as outbound.", Refused},
		{KubevirtInterfaces, Annotation, "Pod", "interfaces", "", "Deprecated name of " + VirtualInterfaces + ", which wins.", Refused},
	}
}

func written() []Name {
	return []Name{
		{Status, Annotation, "Pod", "JSON", "", "Written by injection: what was added. Its presence says that the pod is injected.", Refused},
		{Overrides, Annotation, "Pod", "JSON", "", "Written by injection: the user's own version of injected containers.", Refused},
		{Revision, Annotation, "Pod", "revision", "", "Written by injection: the revision that injected the pod.", Tolerated},
		{DefaultContainer, Annotation, "Pod", "container", "first container of the user", "Written by injection unless set.", Tolerated},
		{DefaultLogsContainer, Annotation, "Pod", "container", "first container of the user", "Written by injection unless set.", Tolerated},
	}
}

func platform() []Name {
	return []Name{
		{Networks, Annotation, "Pod", "list or JSON", "", "With the CNI plugin below Multus, injection appends its network; what cannot be read is left alone.", Tolerated},
		{OpenShiftUIDs, Annotation, "Namespace", "START/SIZE | START-END", "", "On OpenShift: the proxy runs as the last user id of the range.", Refused},
		{OpenShiftGroups, Annotation, "Namespace", "ranges, …", OpenShiftUIDs, "On OpenShift: the proxy runs as the last group id of the first range.", Refused},
	}
}
