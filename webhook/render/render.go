// Package render edits a pod: it adds proxy, init container, volumes, labels and
// annotations as Params say, and takes them out again.
//
// Pod and Strip are inverse where it matters: rendering what Strip returns gives the same
// pod again. Both work on typed structs and copy what they change; the pods they are given
// are never modified. The package is pure; what can be wrong in a user's settings was
// found by params before.
package render

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/webhook/params"
)

// Pod returns a copy of pod with everything added that p says, text templates aside:
// Compose does those. pod must be what Strip returned. The problems are warnings unless
// fatal; with a fatal one the result is nil.
func Pod(pod *corev1.Pod, p params.Params) (*corev1.Pod, []problem.Problem) {
	w := newWriter(pod, p)
	w.takeUserContainers(func(name string) bool {
		return name == meta.ProxyContainer || name == w.Init.Name && w.hasInit()
	})
	w.probes()
	proxy, ok := w.proxy()
	if !ok {
		return nil, w.problems
	}
	initial, ok := w.initial()
	if !ok {
		return nil, w.problems
	}
	if !w.volumes() {
		return nil, w.problems
	}
	w.pullSecrets()
	w.labels()
	w.annotations()
	w.securePort(&proxy)
	w.place(proxy, initial)
	w.podSecurity()
	w.finish()
	return w.out, w.problems
}

// writer is the state of one rendering.
type writer struct {
	params.Params
	in, out  *corev1.Pod
	origin   problem.Origin
	status   status
	saved    overrides
	probers  map[string]prober
	problems []problem.Problem
}

// newWriter returns a value, so that Pod's stays on the stack.
func newWriter(pod *corev1.Pod, p params.Params) writer {
	return writer{
		Params: p, in: pod, out: shallow(pod),
		origin: params.Origin(pod, p.Workload.Namespace), status: status{Revision: p.Revision},
	}
}

// shallow copies the pod and the maps and lists that are edited; what the lists hold is
// shared and must be replaced, not changed.
func shallow(pod *corev1.Pod) *corev1.Pod {
	out := *pod
	out.Labels = maps.Clone(pod.Labels)
	out.Annotations = maps.Clone(pod.Annotations)
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	if out.Annotations == nil {
		out.Annotations = map[string]string{}
	}
	out.Spec.Containers = slices.Clone(pod.Spec.Containers)
	out.Spec.InitContainers = slices.Clone(pod.Spec.InitContainers)
	return &out
}

// takeUserContainers removes the user's own version of injected containers from the pod
// and remembers them as they were, so that a later injection starts from the same.
func (w *writer) takeUserContainers(injected func(name string) bool) {
	own := func(c corev1.Container) bool { return injected(c.Name) }
	for _, c := range w.out.Spec.Containers {
		if own(c) {
			w.saved.Containers = append(w.saved.Containers, c)
		}
	}
	for _, c := range w.out.Spec.InitContainers {
		if own(c) {
			w.saved.InitContainers = append(w.saved.InitContainers, c)
		}
	}
	w.out.Spec.Containers = slices.DeleteFunc(w.out.Spec.Containers, own)
	w.out.Spec.InitContainers = slices.DeleteFunc(w.out.Spec.InitContainers, own)
}

func (w *writer) report(path, reason string, fatal bool, message string) {
	w.problems = append(w.problems, problem.Problem{
		Origin: w.origin, Path: path, Reason: reason, Message: message, Fatal: fatal,
	})
}
