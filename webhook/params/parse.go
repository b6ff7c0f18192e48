package params

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sluicemesh/sluice/internal/meta"
)

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
	if err := v.unsupported(); err != nil {
		return Values{}, fmt.Errorf("parse values: %w", err)
	}
	return v, nil
}

// unsupported names the value that would make proxies trust or present other
// certificates than those of the control plane, which they cannot.
func (v *Values) unsupported() error {
	if p := v.Global.PilotCertProvider; p != "istiod" {
		return fmt.Errorf("global.pilotCertProvider is %q, but the control plane's certificate is its own: write istiod", p)
	}
	if n := v.Global.CAName; n != "" && !strings.EqualFold(n, "istiod") {
		return fmt.Errorf("global.caName is %q, but proxies get their certificates from the control plane: leave it empty", n)
	}
	switch policy := v.Pilot.env(meta.EnvCompliance); policy {
	case "", "fips-140-2", "fips-140-3", "pqc":
	default:
		return fmt.Errorf("pilot.env.%s is %q, write fips-140-2, fips-140-3 or pqc", meta.EnvCompliance, policy)
	}
	return nil
}

// notes lists the values that are accepted and do not do what they say.
func (v *Values) notes() []string {
	var out []string
	if len(v.Global.DNSSearch) > 0 {
		out = append(out, "global.podDNSSearchNamespaces has no effect: pods that need search domains write them into dnsConfig")
	}
	if v.Pilot.env(clusterTrustBundles) == "true" {
		out = append(out, "pilot.env."+clusterTrustBundles+": the control plane does not publish the ClusterTrustBundle "+
			rootBundle+", pods wait for it until something else does")
	}
	if p := v.Pilot.env(meta.EnvCompliance); p != "" {
		out = append(out, "pilot.env."+meta.EnvCompliance+" is handed to the proxies, but does not restrict Envoy's TLS")
	}
	return out
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
	cluster := &global.MultiCluster.ClusterName
	*cluster = text(firstNonEmpty(string(*cluster), string(def.MultiCluster.ClusterName)))
	for _, field := range []struct{ value, def *string }{
		{&global.IstioNamespace, &def.IstioNamespace},
		{&global.PilotCertProvider, &def.PilotCertProvider},
		{&global.Logging.Level, &def.Logging.Level},
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
