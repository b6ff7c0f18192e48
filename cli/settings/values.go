package settings

import (
	"encoding/json"
	"fmt"
	"strings"
)

// PilotValues are the values of the chart istiod: new, owned by the caller.
func (s Settings) PilotValues() map[string]any {
	values := overlay(map[string]any{}, s.Values).(map[string]any)
	if gateways, ok := values["gateways"].(map[string]any); ok {
		delete(gateways, "istio-ingressgateway")
		delete(gateways, "istio-egressgateway")
	}
	delete(values, "cni")
	if s.Components.CNI.Enabled {
		// Below what the user says: the plug-in may be installed before injection uses it. Pods
		// that need no right for their rules are to pass the Pod Security level restricted.
		uses := map[string]any{
			"pilot":  map[string]any{"cni": map[string]any{"enabled": true}},
			"global": map[string]any{"proxy": map[string]any{"seccompProfile": map[string]any{"type": "RuntimeDefault"}}},
		}
		values = overlay(uses, values).(map[string]any)
	}
	global := map[string]any{"hub": s.Hub, "tag": s.Tag, "istioNamespace": s.Namespace}
	over := map[string]any{"global": global, "revision": s.Revision, "meshConfig": orEmpty(s.MeshConfig)}
	k := s.Components.Pilot.K8s
	pilot := k.common()
	if h := k.HPASpec; h != nil {
		put(pilot, "autoscaleMin", h.MinReplicas)
		put(pilot, "autoscaleMax", h.MaxReplicas)
	}
	put(pilot, "serviceAnnotations", k.ServiceAnnotations)
	over["pilot"] = pilot
	return overlay(values, over).(map[string]any)
}

// CNIValues are the values of the chart cni: new, owned by the caller.
func (s Settings) CNIValues() map[string]any {
	global := map[string]any{"hub": s.Hub, "tag": s.Tag}
	if given, ok := s.Values["global"].(map[string]any); ok {
		for _, key := range []string{"variant", "imagePullPolicy", "imagePullSecrets", "platform"} {
			put(global, key, given[key])
		}
	}
	values := map[string]any{"global": global}
	if given, ok := s.Values["cni"].(map[string]any); ok {
		values = overlay(values, given).(map[string]any)
	}
	over := s.Components.CNI.K8s.common()
	return overlay(values, over).(map[string]any)
}

// CNINamespace is the plug-in's.
func (s Settings) CNINamespace() string {
	if n := s.Components.CNI.Namespace; n != "" {
		return n
	}
	return s.Namespace
}

// ProxyImageAnnotation says, on a gateway's pods, for which proxy image they were rolled out.
const ProxyImageAnnotation = "sluicemesh.io/proxy-image"

// GatewayValues are the values of the chart gateway for one gateway: new, owned by the
// caller. kind is "ingressgateway" or "egressgateway". From low to high: what follows from
// the name, values.gateways, the component's own fields.
func (s Settings) GatewayValues(kind string, g Gateway) map[string]any {
	values := map[string]any{
		"name":           g.Name,
		"revision":       s.Revision,
		"serviceAccount": map[string]any{"name": g.Name + "-service-account"},
		"volumes":        certVolumes(kind),
		"volumeMounts":   certMounts(kind),
	}
	put(values, "labels", g.Label)
	// The proxy's image comes from the injector, so another image alone would change nothing
	// in the Deployment and its pods would stay as they are.
	values["podAnnotations"] = map[string]any{ProxyImageAnnotation: s.Hub + "/proxyv2:" + s.Tag}
	if global, ok := s.Values["global"].(map[string]any); ok {
		for _, key := range []string{"imagePullPolicy", "imagePullSecrets", "priorityClassName"} {
			put(values, key, global[key])
		}
	}
	// The chart would set its own, which hides what the injector is told.
	if gateways, ok := s.Values["gateways"].(map[string]any); ok {
		put(values, "securityContext", gateways["securityContext"])
	}
	over := g.K8s.common()
	if h := g.K8s.HPASpec; h != nil {
		scale := map[string]any{}
		put(scale, "minReplicas", h.MinReplicas)
		put(scale, "maxReplicas", h.MaxReplicas)
		over["autoscaling"] = scale
	}
	put(over, "podDisruptionBudget", g.K8s.PodDisruption)
	service := map[string]any{}
	if g.K8s.Service != nil {
		service = plain(g.K8s.Service).(map[string]any)
	}
	put(service, "annotations", g.K8s.ServiceAnnotations)
	over["service"] = service
	return overlay(overlay(values, s.gatewayDefaults("istio-"+kind)), over).(map[string]any)
}

// gatewayDefaults are values.gateways.<name> at the places where the chart has them.
func (s Settings) gatewayDefaults(name string) map[string]any {
	out := map[string]any{}
	gateways, _ := s.Values["gateways"].(map[string]any)
	given, _ := gateways[name].(map[string]any)
	for from, to := range gatewayPaths() {
		v, ok := given[from]
		if !ok {
			continue
		}
		if cpu, ok := v.(map[string]any); ok && from == "cpu" {
			v = map[string]any{"targetCPUUtilizationPercentage": cpu["targetAverageUtilization"]}
		}
		path := strings.Split(to, ".")
		for i := len(path) - 1; i >= 0; i-- {
			v = map[string]any{path[i]: v}
		}
		out = overlay(out, v).(map[string]any)
	}
	return out
}

// gatewayPaths are the names below values.gateways.istio-{in,e}gressgateway, and where the
// chart gateway has them.
func gatewayPaths() map[string]string {
	return map[string]string{
		"type":                     "service.type",
		"ports":                    "service.ports",
		"loadBalancerIP":           "service.loadBalancerIP",
		"loadBalancerSourceRanges": "service.loadBalancerSourceRanges",
		"externalTrafficPolicy":    "service.externalTrafficPolicy",
		"externalIPs":              "service.externalIPs",
		"ipFamilyPolicy":           "service.ipFamilyPolicy",
		"ipFamilies":               "service.ipFamilies",
		"serviceAnnotations":       "service.annotations",
		"autoscaleEnabled":         "autoscaling.enabled",
		"autoscaleMin":             "autoscaling.minReplicas",
		"autoscaleMax":             "autoscaling.maxReplicas",
		"cpu":                      "autoscaling",
		"replicaCount":             "replicaCount",
		"resources":                "resources",
		"nodeSelector":             "nodeSelector",
		"tolerations":              "tolerations",
		"podAnnotations":           "podAnnotations",
		"env":                      "env",
	}
}

// common are the fields that both charts have under the same names.
func (k Kubernetes) common() map[string]any {
	out := map[string]any{}
	put(out, "resources", k.Resources)
	put(out, "replicaCount", k.ReplicaCount)
	put(out, "nodeSelector", k.NodeSelector)
	put(out, "tolerations", k.Tolerations)
	put(out, "affinity", k.Affinity)
	put(out, "topologySpreadConstraints", k.Spread)
	put(out, "podAnnotations", k.PodAnnotations)
	if len(k.Env) > 0 {
		env := map[string]any{}
		for _, e := range k.Env {
			env[e.Name] = e.Value
		}
		out["env"] = env
	}
	return out
}

// certificates are the folders of an installed gateway's own certificates and their Secrets,
// which need not exist: istio-<kind>-certs at /etc/istio/<kind>-certs, and the CA's.
func certificates(kind string) []string { return []string{kind + "-certs", kind + "-ca-certs"} }

func certVolumes(kind string) []any {
	var volumes []any
	for _, name := range certificates(kind) {
		volumes = append(volumes, map[string]any{
			"name": name, "secret": map[string]any{"secretName": "istio-" + name, "optional": true},
		})
	}
	return volumes
}

func certMounts(kind string) []any {
	var mounts []any
	for _, name := range certificates(kind) {
		mounts = append(mounts, map[string]any{"name": name, "mountPath": "/etc/istio/" + name, "readOnly": true})
	}
	return mounts
}

// put sets key to the plain form of v, unless that is empty.
func put(m map[string]any, key string, v any) {
	switch p := plain(v).(type) {
	case nil:
	case map[string]any:
		if len(p) > 0 {
			m[key] = p
		}
	case []any:
		if len(p) > 0 {
			m[key] = p
		}
	default:
		m[key] = p
	}
}

// plain turns a typed value into maps, lists and scalars, as templates want them.
func plain(v any) any {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("%T: %v", v, err)) // decoded from JSON before
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		panic(err)
	}
	return out
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}
