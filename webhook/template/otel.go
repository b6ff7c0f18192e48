package template

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicemesh/sluice/internal/meta"
)

// otelPrefix begins annotations that name an attribute of the resource.
// Source: OpenTelemetry, "Semantic conventions for Kubernetes attributes".
const otelPrefix = "resource.opentelemetry.io/"

// otelResourceAttributes is the value of OTEL_RESOURCE_ATTRIBUTES for a workload: what the
// pod's annotations name, else what follows from labels and names by OpenTelemetry's
// conventions. It takes the dot itself, or .ObjectMeta and .DeploymentMeta in any order.
func otelResourceAttributes(args ...any) (string, error) {
	var object metav1.ObjectMeta
	var workload DeploymentMeta
	for _, arg := range args {
		switch v := arg.(type) {
		case *Data:
			object, workload = *v.ObjectMeta, v.DeploymentMeta
		case *metav1.ObjectMeta:
			object = *v
		case metav1.ObjectMeta:
			object = v
		case DeploymentMeta:
			workload = v
		default:
			return "", fmt.Errorf("%T says nothing about a resource: write otelResourceAttributes with the dot", arg)
		}
	}
	attributes := map[string]string{
		"service.name":        first(object.Labels[meta.AppName], object.Labels[meta.App], workload.Name),
		"service.namespace":   workload.Namespace,
		"service.version":     first(object.Labels[meta.AppVersion], object.Labels[meta.Version]),
		"service.instance.id": "",
	}
	for key, value := range object.Annotations {
		if name, ok := strings.CutPrefix(key, otelPrefix); ok && value != "" {
			attributes[name] = value
		}
	}
	// Separators as percent codes, and nothing that the kubelet would take for a variable.
	escape := strings.NewReplacer("%", "%25", ",", "%2C", "=", "%3D", " ", "%20", "$(", "$$(")
	var out []string
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		if value := attributes[name]; value != "" {
			out = append(out, name+"="+escape.Replace(value))
		}
	}
	return strings.Join(out, ","), nil
}

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}
