package params

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Values is the part of the chart's values that the injector uses, with the chart's
// paths. ParseValues makes it; it is not modified afterwards.
type Values struct {
	Global   Global   `json:"global"`
	Injector Injector `json:"sidecarInjectorWebhook"`
	Gateways Gateways `json:"gateways"`
	Pilot    Pilot    `json:"pilot"`
	Revision string   `json:"revision"`
}

// Global is values.global.
type Global struct {
	Hub               text         `json:"hub"`
	Tag               text         `json:"tag"`
	Variant           string       `json:"variant"`
	ImagePullPolicy   string       `json:"imagePullPolicy"`
	ImagePullSecrets  []string     `json:"imagePullSecrets"`
	IstioNamespace    string       `json:"istioNamespace"`
	Network           text         `json:"network"`
	MeshID            text         `json:"meshID"`
	CAAddress         string       `json:"caAddress"`
	CAName            string       `json:"caName"`
	PilotCertProvider string       `json:"pilotCertProvider"`
	TrustBundleName   string       `json:"trustBundleName"`
	MountMtlsCerts    bool         `json:"mountMtlsCerts"`
	Platform          string       `json:"platform"`
	NativeNftables    bool         `json:"nativeNftables"`
	LogAsJSON         bool         `json:"logAsJson"`
	Logging           Logging      `json:"logging"`
	MultiCluster      MultiCluster `json:"multiCluster"`
	STS               STS          `json:"sts"`
	Proxy             Proxy        `json:"proxy"`
	ProxyInit         ProxyInit    `json:"proxy_init"`
	// DNSSearch has no effect; it is read to say so.
	DNSSearch []string `json:"podDNSSearchNamespaces"`
}

// STS is values.global.sts, the token exchange of the agent.
type STS struct {
	Port uint16 `json:"servicePort"`
}

// Logging is values.global.logging.
type Logging struct {
	Level string `json:"level"`
}

// MultiCluster is values.global.multiCluster.
type MultiCluster struct {
	ClusterName text `json:"clusterName"`
}

// Proxy is values.global.proxy.
type Proxy struct {
	Image             string                 `json:"image"`
	AutoInject        string                 `json:"autoInject"`
	ClusterDomain     string                 `json:"clusterDomain"`
	LogLevel          string                 `json:"logLevel"`
	ComponentLogLevel string                 `json:"componentLogLevel"`
	OutlierLogPath    string                 `json:"outlierLogPath"`
	Tracer            string                 `json:"tracer"`
	Privileged        bool                   `json:"privileged"`
	NetBindService    text                   `json:"capNetBindService"` // "true" or anything else
	Hold              bool                   `json:"holdApplicationUntilProxyStarts"`
	StatusPort        *uint16                `json:"statusPort"`
	Resources         resources              `json:"resources"`
	SeccompProfile    *corev1.SeccompProfile `json:"seccompProfile"`
	Lifecycle         *corev1.Lifecycle      `json:"lifecycle"`
	StartupProbe      StartupProbe           `json:"startupProbe"`
	ReadyInitialDelay int32                  `json:"readinessInitialDelaySeconds"`
	ReadyPeriod       int32                  `json:"readinessPeriodSeconds"`
	ReadyFailures     int32                  `json:"readinessFailureThreshold"`
	Ranges
}

// Ranges are the capture settings of values.global.proxy, as text in the form of the
// pod annotations.
type Ranges struct {
	IncludeIPRanges      text `json:"includeIPRanges"`
	ExcludeIPRanges      text `json:"excludeIPRanges"`
	IncludeInboundPorts  text `json:"includeInboundPorts"`
	ExcludeInboundPorts  text `json:"excludeInboundPorts"`
	IncludeOutboundPorts text `json:"includeOutboundPorts"`
	ExcludeOutboundPorts text `json:"excludeOutboundPorts"`
}

// StartupProbe is values.global.proxy.startupProbe.
type StartupProbe struct {
	Enabled          bool  `json:"enabled"`
	FailureThreshold int32 `json:"failureThreshold"`
}

// ProxyInit is values.global.proxy_init.
type ProxyInit struct {
	Image      string `json:"image"`
	ForceApply bool   `json:"forceApplyIptables"`
}

// Injector is values.sidecarInjectorWebhook.
type Injector struct {
	RewriteProbes bool `json:"rewriteAppHTTPProbe"`
}

// Gateways is values.gateways.
type Gateways struct {
	SecurityContext *corev1.PodSecurityContext `json:"securityContext"`
	SeccompProfile  *corev1.SeccompProfile     `json:"seccompProfile"`
}

// Pilot is values.pilot.
type Pilot struct {
	CNI CNI `json:"cni"`
	// Env is the environment of the control plane by name, as users write it.
	Env map[string]json.RawMessage `json:"env"`
}

// env is a variable of the control plane; "" where it is unset or not plain text.
func (p *Pilot) env(name string) string {
	var t text
	if raw, ok := p.Env[name]; !ok || t.UnmarshalJSON(raw) != nil {
		return ""
	}
	return string(t)
}

// CNI is values.pilot.cni: rules are installed by a network plugin, not in the pod.
type CNI struct {
	Enabled  bool   `json:"enabled"`
	Provider string `json:"provider"` // "multus", or anything else for a chained plugin
}

// text is a string that may be written as a number or a truth value or left null, as
// users write tags and variables.
type text string

// UnmarshalJSON accepts a JSON string, number, truth value or null.
func (t *text) UnmarshalJSON(data []byte) error {
	switch word := string(data); {
	case word == "null":
		return nil
	case word == "true" || word == "false":
		*t = text(word)
		return nil
	case word != "" && word[0] != '"':
		var n json.Number
		if err := json.Unmarshal(data, &n); err != nil {
			return err
		}
		*t = text(n)
		return nil
	}
	return json.Unmarshal(data, (*string)(t))
}

// resources is ResourceRequirements whose quantities may be null, which removes the default.
type resources struct {
	Requests map[corev1.ResourceName]*resource.Quantity `json:"requests"`
	Limits   map[corev1.ResourceName]*resource.Quantity `json:"limits"`
}

func (r resources) requirements() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{Requests: prune(r.Requests), Limits: prune(r.Limits)}
}

func prune(in map[corev1.ResourceName]*resource.Quantity) corev1.ResourceList {
	var out corev1.ResourceList
	for name, q := range in {
		if q == nil {
			continue
		}
		if out == nil {
			out = corev1.ResourceList{}
		}
		out[name] = *q
	}
	return out
}
