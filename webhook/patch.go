package webhook

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"
)

// operation is one step of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"` // absent only for "remove"
}

// createPatch returns the steps from one pod to the other, as JSON.
//
// Containers, volumes and secrets are matched by name, so that an element of the user's is
// never rewritten into another one: a field that this program does not know stays with the
// element it belongs to. Only what injection edits is compared. Inside a changed element
// the difference is the library's.
func createPatch(from, to *corev1.Pod) ([]byte, error) {
	p := &patcher{}
	p.stringMap("/metadata/labels", from.Labels, to.Labels)
	p.stringMap("/metadata/annotations", from.Annotations, to.Annotations)
	containers := named[corev1.Container]{func(c *corev1.Container) string { return c.Name }, p.container}
	containers.list(p, "/spec/initContainers", from.Spec.InitContainers, to.Spec.InitContainers)
	containers.list(p, "/spec/containers", from.Spec.Containers, to.Spec.Containers)
	volumes := named[corev1.Volume]{
		func(v *corev1.Volume) string { return v.Name },
		func(path string, from, to *corev1.Volume) { p.element(path, from, to) },
	}
	volumes.list(p, "/spec/volumes", from.Spec.Volumes, to.Spec.Volumes)
	secrets := named[corev1.LocalObjectReference]{
		func(r *corev1.LocalObjectReference) string { return r.Name },
		func(string, *corev1.LocalObjectReference, *corev1.LocalObjectReference) {}, // nothing but the name
	}
	secrets.list(p, "/spec/imagePullSecrets", from.Spec.ImagePullSecrets, to.Spec.ImagePullSecrets)
	p.value("/spec/securityContext", from.Spec.SecurityContext, to.Spec.SecurityContext)
	if p.err != nil {
		return nil, p.err
	}
	if len(p.ops) == 0 {
		return nil, nil
	}
	data, err := json.Marshal(p.ops)
	if err != nil {
		return nil, fmt.Errorf("encode patch: %w", err)
	}
	return data, nil
}

type patcher struct {
	ops []operation
	err error // the first one
}

func (p *patcher) add(op, path string, value any) {
	p.ops = append(p.ops, operation{Op: op, Path: path, Value: value})
}

func (p *patcher) stringMap(path string, from, to map[string]string) {
	if len(from) == 0 {
		if len(to) > 0 {
			p.add("add", path, to)
		}
		return
	}
	for _, key := range slices.Sorted(maps.Keys(from)) {
		if _, ok := to[key]; !ok {
			p.add("remove", path+"/"+escape(key), nil)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(to)) {
		old, ok := from[key]
		switch {
		case !ok:
			p.add("add", path+"/"+escape(key), to[key])
		case old != to[key]:
			p.add("replace", path+"/"+escape(key), to[key])
		}
	}
}

func (p *patcher) value(path string, from, to *corev1.PodSecurityContext) {
	switch {
	case reflect.DeepEqual(from, to):
	case to == nil:
		p.add("remove", path, nil)
	default:
		p.add("add", path, to)
	}
}

// named says how elements of a list are told apart and how one is patched in place.
type named[T any] struct {
	name   func(*T) string
	change func(path string, from, to *T)
}

// list patches a list whose elements have names.
func (n named[T]) list(p *patcher, path string, from, to []T) {
	switch {
	case len(from) == 0 && len(to) == 0:
		return
	case len(from) == 0:
		p.add("add", path, to)
		return
	case len(to) == 0:
		p.add("remove", path, nil)
		return
	}
	fromNames, toNames := n.names(from), n.names(to)
	kept := slices.DeleteFunc(slices.Clone(fromNames), func(w string) bool { return !slices.Contains(toNames, w) })
	stay := slices.DeleteFunc(slices.Clone(toNames), func(w string) bool { return !slices.Contains(fromNames, w) })
	if !slices.Equal(kept, stay) || duplicates(fromNames) || duplicates(toNames) {
		p.add("replace", path, to)
		return
	}
	for i := len(from) - 1; i >= 0; i-- {
		if !slices.Contains(toNames, fromNames[i]) {
			p.add("remove", path+"/"+strconv.Itoa(i), nil)
		}
	}
	// From here on every element before i is at its final place.
	for i := range to {
		at := path + "/" + strconv.Itoa(i)
		old := slices.Index(fromNames, toNames[i])
		if old < 0 {
			p.add("add", at, to[i])
			continue
		}
		n.change(at, &from[old], &to[i])
	}
}

// container patches a container of the user's. What injection changes there is that probes
// and hooks become requests to the agent; anything else is left to the library.
func (p *patcher) container(path string, from, to *corev1.Container) {
	rest := *to
	rest.ReadinessProbe = withHandler(to.ReadinessProbe, from.ReadinessProbe)
	rest.LivenessProbe = withHandler(to.LivenessProbe, from.LivenessProbe)
	rest.StartupProbe = withHandler(to.StartupProbe, from.StartupProbe)
	rest.Lifecycle = from.Lifecycle
	handlers := []struct {
		path     string
		from, to *corev1.ProbeHandler
	}{
		{"/readinessProbe", probeHandler(from.ReadinessProbe), probeHandler(to.ReadinessProbe)},
		{"/livenessProbe", probeHandler(from.LivenessProbe), probeHandler(to.LivenessProbe)},
		{"/startupProbe", probeHandler(from.StartupProbe), probeHandler(to.StartupProbe)},
		{"/lifecycle/postStart", postStart(from.Lifecycle), postStart(to.Lifecycle)},
		{"/lifecycle/preStop", preStop(from.Lifecycle), preStop(to.Lifecycle)},
	}
	simple := reflect.DeepEqual(&rest, from)
	for _, h := range handlers {
		simple = simple && redirected(h.from, h.to)
	}
	if !simple {
		p.element(path, from, to)
		return
	}
	for _, h := range handlers {
		if h.from == nil || reflect.DeepEqual(h.from, h.to) {
			continue
		}
		if h.from.TCPSocket != nil {
			p.add("remove", path+h.path+"/tcpSocket", nil)
		}
		if h.from.GRPC != nil {
			p.add("remove", path+h.path+"/grpc", nil)
		}
		p.add("add", path+h.path+"/httpGet", h.to.HTTPGet)
	}
}

// redirected reports whether from to to is no change or one that a request replaces.
func redirected(from, to *corev1.ProbeHandler) bool {
	if from == nil || to == nil {
		return from == to
	}
	return to.HTTPGet != nil && from.Exec == nil || reflect.DeepEqual(from, to)
}

// withHandler is p with the handler of from, so that only the timings are left to compare.
func withHandler(p, from *corev1.Probe) *corev1.Probe {
	if p == nil || from == nil || p == from {
		return p
	}
	out := *p
	out.ProbeHandler = from.ProbeHandler
	return &out
}

func probeHandler(p *corev1.Probe) *corev1.ProbeHandler {
	if p == nil {
		return nil
	}
	return &p.ProbeHandler
}

func postStart(l *corev1.Lifecycle) *corev1.ProbeHandler {
	if l == nil {
		return nil
	}
	return hookHandler(l.PostStart)
}

func preStop(l *corev1.Lifecycle) *corev1.ProbeHandler {
	if l == nil {
		return nil
	}
	return hookHandler(l.PreStop)
}

// hookHandler is a hook in the shape of a probe; injection does not touch those that sleep.
func hookHandler(h *corev1.LifecycleHandler) *corev1.ProbeHandler {
	if h == nil {
		return nil
	}
	return &corev1.ProbeHandler{Exec: h.Exec, HTTPGet: h.HTTPGet, TCPSocket: h.TCPSocket}
}

// element patches one element in place.
func (p *patcher) element(path string, from, to any) {
	if p.err != nil || reflect.DeepEqual(from, to) {
		return
	}
	ops, err := difference(from, to)
	if err != nil {
		p.err = fmt.Errorf("compare %s: %w", path, err)
		return
	}
	for _, op := range ops {
		p.add(op.Operation, path+op.Path, op.Value)
	}
}

func difference(from, to any) ([]jsonpatch.Operation, error) {
	a, err := json.Marshal(from)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(to)
	if err != nil {
		return nil, err
	}
	return jsonpatch.CreatePatch(a, b)
}

func (n named[T]) names(list []T) []string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = n.name(&list[i])
	}
	return out
}

func duplicates(names []string) bool {
	for i, n := range names {
		if slices.Contains(names[i+1:], n) {
			return true
		}
	}
	return false
}

// escape writes a key as part of a JSON pointer (RFC 6901).
func escape(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}
