package render

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/webhook/params"
)

// maxLabel is the greatest length of a label's value. Source: Kubernetes, label syntax.
const maxLabel = 63

// status is the annotation sidecar.istio.io/status: what injection added, by name. Other
// programs read it, so the form is Istio's, null for empty lists included.
type status struct {
	InitContainers   []string `json:"initContainers"`
	Containers       []string `json:"containers"`
	Volumes          []string `json:"volumes"`
	ImagePullSecrets []string `json:"imagePullSecrets"`
	Revision         string   `json:"revision"`
	// Annotations lists those that injection wrote over a user's or that would count as the
	// user's wish the next time: the value written, then the one before, if there was one.
	Annotations map[string][]string `json:"annotations,omitempty"`
}

// overrides is the annotation proxy.istio.io/overrides: the user's own version of the
// containers that injection completed.
type overrides struct {
	Containers     []corev1.Container `json:"containers,omitempty"`
	InitContainers []corev1.Container `json:"initContainers,omitempty"`
}

func (w *writer) labels() {
	l := w.out.Labels
	setDefault(l, meta.CanonicalName, trimLabel(first(l[meta.AppName], l[meta.App], w.Workload.Name)))
	setDefault(l, meta.CanonicalRevision, first(l[meta.AppVersion], l[meta.Version], "latest"))
	setDefault(l, meta.Network, w.Mesh.Network)
	if w.Template != params.Sidecar {
		return
	}
	setDefault(l, meta.TLSMode, "istio")
	if w.Mesh.Metadata[meta.EnvHBONE] == "true" {
		setDefault(l, meta.Tunnel, "http")
	}
}

func (w *writer) annotations() {
	a := w.out.Annotations
	a[meta.Revision] = w.Revision
	for i := range w.in.Spec.Containers {
		if name := w.in.Spec.Containers[i].Name; name != meta.ProxyContainer {
			setDefault(a, meta.DefaultContainer, name)
			setDefault(a, meta.DefaultLogsContainer, name)
			break
		}
	}
	if w.Metrics.Port != 0 {
		for _, key := range w.Metrics.Replaced {
			delete(a, key)
		}
		a[meta.PrometheusScrape] = "true"
		a[meta.PrometheusPort] = strconv.Itoa(int(w.Metrics.Port))
		a[meta.PrometheusPath] = "/stats/prometheus"
	}
}

// annotate writes an annotation that a later injection takes back first.
func (w *writer) annotate(key, value string) {
	old, ok := w.out.Annotations[key]
	if ok && old == value {
		return
	}
	record := []string{value}
	if ok {
		record = append(record, old)
	}
	if w.status.Annotations == nil {
		w.status.Annotations = map[string][]string{}
	}
	if earlier, again := w.status.Annotations[key]; again {
		record = append(record[:1], earlier[1:]...)
	}
	w.status.Annotations[key] = record
	w.out.Annotations[key] = value
}

// securePort tells scrapers where the proxy serves metrics over mutual TLS.
func (w *writer) securePort(proxy *corev1.Container) {
	if _, ok := w.out.Annotations[meta.SecureMetricsPort]; ok {
		return
	}
	if port := envValue(proxy, meta.EnvSecureMetricsPort); port != "" && port != "0" {
		w.annotate(meta.SecureMetricsPort, port)
	}
}

// finish writes what comes over everything else, and the annotations that describe the
// injection itself.
func (w *writer) finish() {
	if w.Init.CNI && w.Template == params.Sidecar {
		w.forPlugin()
	}
	for _, key := range slices.Sorted(maps.Keys(w.Annotations)) {
		if key != meta.Status && key != meta.Overrides {
			w.annotate(key, w.Annotations[key])
		}
	}
	w.out.Annotations[meta.Status] = encode(w.status)
	if len(w.saved.Containers)+len(w.saved.InitContainers) > 0 {
		w.out.Annotations[meta.Overrides] = encode(w.saved)
	}
}

// encode is JSON of a value that always has one: plain structs, lists and maps of strings.
func encode(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic("render: encode " + err.Error())
	}
	return string(data)
}

// trimLabel cuts s to the length of a label value; a value must not begin or end with
// punctuation.
func trimLabel(s string) string {
	if len(s) > maxLabel {
		s = s[:maxLabel]
	}
	return strings.Trim(s, "-_.")
}

// setDefault sets m[key] where it is absent or empty and value is not empty.
func setDefault(m map[string]string, key, value string) {
	if m[key] == "" && value != "" {
		m[key] = value
	}
}

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}
