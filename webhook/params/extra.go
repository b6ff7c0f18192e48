package params

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	meshv1alpha1 "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sluicemesh/sluice/internal/meta"
)

// Extra is what few pods ask for.
type Extra struct {
	// Bootstrap is the ConfigMap with the user's part of Envoy's bootstrap, "" for none.
	Bootstrap string
	Volumes   []corev1.Volume      // by name
	Mounts    []corev1.VolumeMount // of the proxy
	Env       []corev1.EnvVar      // of the proxy, for tracers
}

// extra reads the annotations that few pods have; nil when this one has none of them.
func (r *reader) extra() *Extra {
	bootstrap := r.bootstrap()
	volumes := named(r, meta.UserVolume, func(v *corev1.Volume) *string { return &v.Name })
	mounts := named(r, meta.UserVolumeMount, func(m *corev1.VolumeMount) *string { return &m.Name })
	env := append(r.datadog(), r.otel()...)
	if bootstrap == "" && len(volumes)+len(mounts)+len(env) == 0 {
		return nil
	}
	return &Extra{Bootstrap: bootstrap, Volumes: volumes, Mounts: mounts, Env: env}
}

func (r *reader) bootstrap() string {
	name := r.Pod.Annotations[meta.BootstrapOverride]
	if name != "" && len(validation.IsDNS1123Subdomain(name)) > 0 {
		r.bad(meta.BootstrapOverride, "%q is not the name of a ConfigMap", name)
	}
	return name
}

// named reads an annotation that holds a JSON object from name to element, or a list of
// elements with names. Elements are returned by name, a list in its order.
func named[T any](r *reader, key string, name func(*T) *string) []T {
	text := r.Pod.Annotations[key]
	if text == "" {
		return nil
	}
	var list []T
	var err error
	if strings.HasPrefix(strings.TrimSpace(text), "[") {
		err = strict(text, &list)
	} else {
		var m map[string]T
		err = strict(text, &m)
		for _, n := range slices.Sorted(maps.Keys(m)) {
			element := m[n]
			*name(&element) = n
			list = append(list, element)
		}
	}
	if err != nil {
		r.bad(key, "%v: write a JSON object from name to definition, or a list of definitions with names", err)
		return nil
	}
	seen := map[string]bool{}
	for i := range list {
		n := *name(&list[i])
		if n == "" {
			r.bad(key, "element %d has no name", i)
		}
		if seen[n] && key == meta.UserVolume {
			r.bad(key, "%q is there twice", n)
		}
		seen[n] = true
	}
	return list
}

// strict decodes one JSON value without fields that the type has not.
func strict(text string, into any) error {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// datadog reads the variables for Datadog's tracer.
func (r *reader) datadog() []corev1.EnvVar {
	if r.Defaults.Values.Global.Proxy.Tracer != "datadog" {
		return nil
	}
	annotated := r.Pod.Annotations[meta.DatadogEnv]
	if annotated == "" {
		return nil
	}
	var m map[string]text
	if err := json.Unmarshal([]byte(annotated), &m); err != nil {
		r.warn(meta.DatadogEnv, InvalidAnnotation, "is not a JSON object from name to value, left out: %v", err)
		return nil
	}
	var env []corev1.EnvVar
	for _, name := range slices.Sorted(maps.Keys(m)) {
		env = append(env, corev1.EnvVar{Name: name, Value: string(m[name])})
	}
	return env
}

// otel describes the workload to tracers, by the rules of OpenTelemetry for Kubernetes:
// the pod's annotations, then labels, then what the kubelet knows.
// Source: ServiceAttributeEnrichment of MeshConfig.
func (r *reader) otel() []corev1.EnvVar {
	if !r.Defaults.otel {
		return nil
	}
	var env []corev1.EnvVar
	instance := otelValue(r.Pod.Annotations[meta.OTELInstance])
	if instance == "" {
		instance = "$(" + meta.EnvPodUID + ")"
		env = append(env, corev1.EnvVar{Name: meta.EnvPodUID, ValueFrom: &corev1.EnvVarSource{
			FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.uid"},
		}})
	}
	attributes := []string{"service.namespace=" +
		firstNonEmpty(otelValue(r.Pod.Annotations[meta.OTELNamespace]), "$("+meta.EnvPodNamespace+")")}
	if v := firstNonEmpty(r.Pod.Annotations[meta.OTELVersion], r.Pod.Labels[meta.AppVersion]); v != "" {
		attributes = append(attributes, "service.version="+otelValue(v))
	}
	attributes = append(attributes, "service.instance.id="+instance)
	return append(env, corev1.EnvVar{Name: meta.EnvOTELAttributes, Value: strings.Join(attributes, ",")})
}

// otelValue writes a value as the variable wants it: separators as percent codes, and
// nothing that the kubelet would replace by another variable.
func otelValue(v string) string {
	return strings.NewReplacer("%", "%25", ",", "%2C", "=", "%3D", " ", "%20", "$(", "$$(").Replace(v)
}

// otelNames reports whether a tracing provider asks for OpenTelemetry's attributes.
func otelNames(mesh *meshv1alpha1.MeshConfig) bool {
	return slices.ContainsFunc(mesh.GetExtensionProviders(), func(p *meshv1alpha1.MeshConfig_ExtensionProvider) bool {
		return p.GetOpentelemetry().GetServiceAttributeEnrichment() == meshv1alpha1.MeshConfig_ExtensionProvider_OTEL_SEMANTIC_CONVENTIONS
	})
}
