package params

import (
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/internal/suggest"
)

// names are the labels and annotations that mean something, made once.
type names struct {
	labels, annotations         map[string]bool
	labelNames, annotationNames []string // sorted: ties between suggestions
}

func knownNames() names {
	n := names{labels: map[string]bool{}, annotations: map[string]bool{}}
	for _, name := range meta.All() {
		pod := strings.Contains(name.On, "Pod")
		switch {
		case name.Kind == meta.Label && pod:
			n.labels[name.Name] = true
			n.labelNames = append(n.labelNames, name.Name)
		case name.Kind == meta.Annotation && pod:
			n.annotations[name.Name] = true
			n.annotationNames = append(n.annotationNames, name.Name)
		}
	}
	slices.Sort(n.labelNames)
	slices.Sort(n.annotationNames)
	return n
}

// ineffective lists settings that Istio accepts and that change nothing, here or there.
func ineffective() [2]string { return [2]string{meta.ReadyPorts, meta.StatsBins} }

// ours reports whether a name lies in Istio's domain, so that it was meant for the mesh.
func ours(key string) bool {
	domain, _, ok := strings.Cut(key, "/")
	return ok && strings.HasSuffix(domain, "istio.io")
}

// unknown reports labels and annotations of the mesh's that do nothing on a pod.
func (r *reader) unknown() {
	known := &r.Defaults.names
	for _, key := range ineffective() {
		if _, ok := r.get(key); ok {
			r.warn(key, NoEffect, "has no effect: remove the annotation")
		}
	}
	if _, ok := r.Pod.Labels[meta.Injection]; ok {
		r.report("metadata.labels["+meta.Injection+"]", NoEffect, false,
			"is a label of namespaces and has no effect on a pod: write "+meta.Inject)
	}
	strange(r, r.Pod.Annotations, known.annotations, func(key string) {
		if known.labels[key] {
			r.warn(key, UnknownAnnotation, "is a label, as an annotation it has no effect")
		} else if s := nearest(key, known.annotationNames); s != "" || meta.Owned(key) {
			r.warn(key, UnknownAnnotation, "unknown annotation, it has no effect%s", s)
		}
	})
	strange(r, r.Pod.Labels, known.labels, func(key string) {
		path := "metadata.labels[" + key + "]"
		if known.annotations[key] {
			r.report(path, UnknownLabel, false, "is an annotation, as a label it has no effect")
		} else if s := nearest(key, known.labelNames); s != "" || meta.Owned(key) {
			r.report(path, UnknownLabel, false, "unknown label, it has no effect"+s)
		}
	})
}

// strange calls report for the names of the mesh's in set that are not known, sorted; of a
// great many, for the first ones.
func strange(r *reader, set map[string]string, known map[string]bool, report func(key string)) {
	var keys []string
	for key := range set {
		if !known[key] && ours(key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for i, key := range keys {
		if i == mostMistakes {
			r.report("metadata", UnknownAnnotation, false, "has more names that nobody knows")
			return
		}
		report(key)
	}
}

// nearest suggests a name. Elsewhere in Istio's domain than below our own prefixes there
// are names of other programs, so that only a slip of the pen counts.
func nearest(key string, known []string) string {
	name := ""
	if meta.Owned(key) {
		name = suggest.Name(key, known)
	} else {
		name = suggest.Nearest(key, known, 3)
	}
	if name == "" {
		return ""
	}
	return ": did you mean " + name + "?"
}
