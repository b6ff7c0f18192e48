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
	container := func(c *corev1.Container) string { return c.Name }
	list(p, "/spec/initContainers", from.Spec.InitContainers, to.Spec.InitContainers, container)
	list(p, "/spec/containers", from.Spec.Containers, to.Spec.Containers, container)
	list(p, "/spec/volumes", from.Spec.Volumes, to.Spec.Volumes, func(v *corev1.Volume) string { return v.Name })
	list(p, "/spec/imagePullSecrets", from.Spec.ImagePullSecrets, to.Spec.ImagePullSecrets,
		func(r *corev1.LocalObjectReference) string { return r.Name })
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

// list patches a list whose elements have names.
func list[T any](p *patcher, path string, from, to []T, name func(*T) string) {
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
	fromNames, toNames := namesOf(from, name), namesOf(to, name)
	kept := slices.DeleteFunc(slices.Clone(fromNames), func(n string) bool { return !slices.Contains(toNames, n) })
	stay := slices.DeleteFunc(slices.Clone(toNames), func(n string) bool { return !slices.Contains(fromNames, n) })
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
		p.element(at, &from[old], &to[i])
	}
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

func namesOf[T any](list []T, name func(*T) string) []string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = name(&list[i])
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
