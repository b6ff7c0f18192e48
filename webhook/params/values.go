package params

import (
	"encoding/json"
	"fmt"
	"reflect"

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
	Network           string       `json:"network"`
	MeshID            string       `json:"meshID"`
	CAAddress         string       `json:"caAddress"`
	PilotCertProvider string       `json:"pilotCertProvider"`
	LogAsJSON         bool         `json:"logAsJson"`
	Logging           Logging      `json:"logging"`
	MultiCluster      MultiCluster `json:"multiCluster"`
	Proxy             Proxy        `json:"proxy"`
	ProxyInit         ProxyInit    `json:"proxy_init"`
}

// Logging is values.global.logging.
type Logging struct {
	Level string `json:"level"`
}

// MultiCluster is values.global.multiCluster.
type MultiCluster struct {
	ClusterName string `json:"clusterName"`
}

// Proxy is values.global.proxy.
type Proxy struct {
	Image             string                 `json:"image"`
	AutoInject        string                 `json:"autoInject"`
	ClusterDomain     string                 `json:"clusterDomain"`
	LogLevel          string                 `json:"logLevel"`
	ComponentLogLevel string                 `json:"componentLogLevel"`
	Privileged        bool                   `json:"privileged"`
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
	IncludeIPRanges      string `json:"includeIPRanges"`
	ExcludeIPRanges      string `json:"excludeIPRanges"`
	IncludeInboundPorts  string `json:"includeInboundPorts"`
	ExcludeInboundPorts  string `json:"excludeInboundPorts"`
	IncludeOutboundPorts string `json:"includeOutboundPorts"`
	ExcludeOutboundPorts string `json:"excludeOutboundPorts"`
}

// StartupProbe is values.global.proxy.startupProbe.
type StartupProbe struct {
	Enabled          bool  `json:"enabled"`
	FailureThreshold int32 `json:"failureThreshold"`
}

// ProxyInit is values.global.proxy_init.
type ProxyInit struct {
	Image string `json:"image"`
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
	CNI struct {
		Enabled bool `json:"enabled"`
	} `json:"cni"`
}

// text is a string that may be written as a number or left null, as users write tags.
type text string

// UnmarshalJSON accepts a JSON string, number or null.
func (t *text) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	if len(data) > 0 && data[0] != '"' {
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

// ParseValues reads the key "values" of the injector's ConfigMap, a JSON subset of the
// chart's values, over the built-in ones. An empty text gives the built-in values. tag is
// the image tag where the values name none.
func ParseValues(data, tag string) (Values, error) {
	v := builtin(tag)
	if data == "" {
		return v, nil
	}
	if err := json.Unmarshal([]byte(data), &v); err != nil {
		return Values{}, fmt.Errorf("parse values: %w", err)
	}
	v.unsetEmpty()
	v.fillEmpty(builtin(tag))
	if v.Pilot.CNI.Enabled {
		return Values{}, fmt.Errorf("parse values: pilot.cni.enabled is true, but a CNI plugin is not supported: set it to false")
	}
	if v.Global.PilotCertProvider != "istiod" {
		return Values{}, fmt.Errorf("parse values: global.pilotCertProvider is %q, only istiod is supported", v.Global.PilotCertProvider)
	}
	return v, nil
}

// unsetEmpty takes the empty objects that charts write for "nothing" as absent.
func (v *Values) unsetEmpty() {
	proxy := &v.Global.Proxy
	if l := proxy.Lifecycle; l != nil && l.PostStart == nil && l.PreStop == nil && l.StopSignal == nil {
		proxy.Lifecycle = nil
	}
	if s := proxy.SeccompProfile; s != nil && s.Type == "" {
		proxy.SeccompProfile = nil
	}
	if s := v.Gateways.SeccompProfile; s != nil && s.Type == "" {
		v.Gateways.SeccompProfile = nil
	}
	if s := v.Gateways.SecurityContext; s != nil && reflect.DeepEqual(*s, corev1.PodSecurityContext{}) {
		v.Gateways.SecurityContext = nil
	}
}

// fillEmpty puts the built-in words where the chart writes an empty one for "the default".
// Ranges and ports are not among them: empty means none there.
func (v *Values) fillEmpty(from Values) {
	global, def := &v.Global, &from.Global
	global.Hub = text(firstNonEmpty(string(global.Hub), string(def.Hub)))
	global.Tag = text(firstNonEmpty(string(global.Tag), string(def.Tag)))
	for _, field := range []struct{ value, def *string }{
		{&global.IstioNamespace, &def.IstioNamespace},
		{&global.PilotCertProvider, &def.PilotCertProvider},
		{&global.Logging.Level, &def.Logging.Level},
		{&global.MultiCluster.ClusterName, &def.MultiCluster.ClusterName},
		{&global.Proxy.Image, &def.Proxy.Image},
		{&global.Proxy.AutoInject, &def.Proxy.AutoInject},
		{&global.Proxy.LogLevel, &def.Proxy.LogLevel},
		{&global.Proxy.ComponentLogLevel, &def.Proxy.ComponentLogLevel},
		{&global.ProxyInit.Image, &def.ProxyInit.Image},
	} {
		*field.value = firstNonEmpty(*field.value, *field.def)
	}
}

// builtin holds what the chart would say; Helm's own defaults, Istio's numbers.
func builtin(tag string) Values {
	quantity := func(s string) *resource.Quantity {
		q := resource.MustParse(s)
		return &q
	}
	return Values{
		Global: Global{
			Hub:               "ghcr.io/sluicemesh",
			Tag:               text(tag),
			IstioNamespace:    "istio-system",
			PilotCertProvider: "istiod",
			MultiCluster:      MultiCluster{ClusterName: "Kubernetes"},
			Logging:           Logging{Level: "default:info"},
			Proxy: Proxy{
				Image:             "proxyv2",
				AutoInject:        "enabled",
				LogLevel:          "warning",
				ComponentLogLevel: "misc:error",
				Resources: resources{
					Requests: map[corev1.ResourceName]*resource.Quantity{
						corev1.ResourceCPU: quantity("100m"), corev1.ResourceMemory: quantity("128Mi"),
					},
					Limits: map[corev1.ResourceName]*resource.Quantity{
						corev1.ResourceCPU: quantity("2"), corev1.ResourceMemory: quantity("1Gi"),
					},
				},
				StartupProbe:  StartupProbe{Enabled: true, FailureThreshold: 600},
				ReadyPeriod:   15,
				ReadyFailures: 4,
				Ranges:        Ranges{IncludeIPRanges: "*", IncludeInboundPorts: "*"},
			},
			ProxyInit: ProxyInit{Image: "proxyv2"},
		},
		Injector: Injector{RewriteProbes: true},
	}
}
