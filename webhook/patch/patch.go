// Package patch writes the difference between a pod as it came and the injected one as a
// JSON patch (RFC 6902).
//
// It knows what injection edits and compares nothing else, so that the usual pod costs no
// second encoding; parts that all injected pods share are encoded once (Fragments). Pods
// that templates had a say in are compared whole. It decides nothing and is pure.
package patch

import (
	"maps"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Native returns the steps from one pod to the other as a JSON patch (RFC 6902), nil when
// there are none. The result is p's and lasts until the next call. known are parts that
// need not be encoded again.
//
// Containers, volumes and secrets are matched by name, so that an element of the user's is
// never rewritten into another one: a field that this program does not know stays with the
// element it belongs to. Only what injection edits is compared.
func (p *Writer) Native(from, to *corev1.Pod, known Fragments) ([]byte, error) {
	p.edits(from, to, known)
	return p.finish()
}

// edits writes the steps for what injection itself edits.
func (p *Writer) edits(from, to *corev1.Pod, known Fragments) {
	p.reset(known)
	p.stringMap("/metadata/labels", from.Labels, to.Labels)
	p.stringMap("/metadata/annotations", from.Annotations, to.Annotations)
	containers := named[corev1.Container]{
		name:   func(c *corev1.Container) string { return c.Name },
		change: (*Writer).changeContainer,
		write:  (*Writer).container,
	}
	containers.list(p, "/spec/initContainers", from.Spec.InitContainers, to.Spec.InitContainers)
	containers.list(p, "/spec/containers", from.Spec.Containers, to.Spec.Containers)
	volumes := named[corev1.Volume]{
		name:   func(v *corev1.Volume) string { return v.Name },
		change: (*Writer).changeVolume,
		write:  (*Writer).volume,
	}
	volumes.list(p, "/spec/volumes", from.Spec.Volumes, to.Spec.Volumes)
	secrets := named[corev1.LocalObjectReference]{
		name:   func(r *corev1.LocalObjectReference) string { return r.Name },
		change: func(*Writer, place, *corev1.LocalObjectReference, *corev1.LocalObjectReference) {}, // nothing but the name
		write:  func(p *Writer, r *corev1.LocalObjectReference) { p.encode(r) },
	}
	secrets.list(p, "/spec/imagePullSecrets", from.Spec.ImagePullSecrets, to.Spec.ImagePullSecrets)
	p.securityContext(from.Spec.SecurityContext, to.Spec.SecurityContext)
}

func (p *Writer) stringMap(path string, from, to map[string]string) {
	if len(from) == 0 {
		if len(to) > 0 {
			p.step("add", place{path: path, index: whole})
			p.encode(to)
		}
		return
	}
	p.keys = slices.AppendSeq(p.keys[:0], maps.Keys(from))
	slices.Sort(p.keys)
	for _, key := range p.keys {
		if _, ok := to[key]; !ok {
			p.keyStep("remove", path, key)
		}
	}
	p.keys = slices.AppendSeq(p.keys[:0], maps.Keys(to))
	slices.Sort(p.keys)
	for _, key := range p.keys {
		old, ok := from[key]
		switch value := to[key]; {
		case !ok:
			p.keyStep("add", path, key)
			p.text(value)
		case old != value:
			p.keyStep("replace", path, key)
			p.text(value)
		}
	}
}

func (p *Writer) securityContext(from, to *corev1.PodSecurityContext) {
	at := place{path: "/spec/securityContext", index: whole}
	switch {
	case reflect.DeepEqual(from, to):
	case to == nil:
		p.step("remove", at)
	default:
		p.step("add", at)
		p.encode(to)
	}
}

// named says how elements of a list are told apart, how one is patched in place and how a
// new one is written.
type named[T any] struct {
	name   func(*T) string
	change func(p *Writer, at place, from, to *T)
	write  func(*Writer, *T)
}

// list patches a list whose elements have names.
func (n named[T]) list(p *Writer, path string, from, to []T) {
	switch {
	case len(from) == 0 && len(to) == 0:
		return
	case len(from) == 0:
		p.step("add", place{path: path, index: whole})
		n.writeAll(p, to)
		return
	case len(to) == 0:
		p.step("remove", place{path: path, index: whole})
		return
	}
	n.fill(&p.from, from)
	n.fill(&p.to, to)
	if !p.from.unique() || !p.to.unique() { // the API server refuses such lists anyway
		if !reflect.DeepEqual(from, to) {
			p.step("replace", place{path: path, index: whole})
			n.writeAll(p, to)
		}
		return
	}
	p.now = append(p.now[:0], p.from.list...)
	for i := len(from) - 1; i >= 0; i-- {
		if p.to.index(p.from.list[i]) < 0 {
			p.step("remove", place{path: path, index: i})
			p.now = slices.Delete(p.now, i, i+1)
		}
	}
	moving := movers(&p.from, &p.to)
	for i, name := range p.to.list { // every element before i is at its final place
		old := p.from.index(name)
		if old < 0 {
			p.step("add", place{path: path, index: i})
			n.write(p, &to[i])
			p.now = slices.Insert(p.now, i, name)
			continue
		}
		p.bring(path, i, name, slices.Contains(moving, name))
		n.change(p, place{path: path, index: i}, &from[old], &to[i])
	}
}

// bring moves elements until the named one is at i: itself, or those before it that have to
// move.
func (p *Writer) bring(path string, i int, name string, moves bool) {
	if moves && p.now[i] != name {
		from := i + slices.Index(p.now[i:], name)
		p.move(path, from, i)
		p.now = slices.Insert(slices.Delete(p.now, from, from+1), i, name)
		return
	}
	for p.now[i] != name {
		p.move(path, i, atEnd)
		gone := p.now[i]
		p.now = append(slices.Delete(p.now, i, i+1), gone)
	}
}

func (n named[T]) fill(names *names, list []T) {
	names.reset()
	for i := range list {
		names.list = append(names.list, n.name(&list[i]))
	}
	names.prepare()
}

func (n named[T]) writeAll(p *Writer, list []T) {
	p.out = append(p.out, '[')
	for i := range list {
		if i > 0 {
			p.out = append(p.out, ',')
		}
		n.write(p, &list[i])
	}
	p.out = append(p.out, ']')
}

func (p *Writer) changeVolume(at place, from, to *corev1.Volume) {
	if *from != *to { // the same but for what is pointed to, mostly
		p.element(at, from, to)
	}
}
