package patch

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"
)

// Composed is Native for a pod that text templates had a say in: beside what injection
// itself edits, any field may differ. That difference is the library's. Fields that this
// program does not know are in neither pod and stay as they are.
func (p *Writer) Composed(from, to *corev1.Pod, known Fragments) ([]byte, error) {
	p.edits(from, to, known)
	steps, err := remaining(from, to)
	if err != nil {
		return nil, fmt.Errorf("compare pods: %w", err)
	}
	for _, s := range steps {
		p.step(s.Operation, place{path: s.Path, index: whole})
		if s.Operation != "remove" {
			p.encode(s.Value)
		}
	}
	return p.finish()
}

// remaining compares what injection itself does not edit. The library goes through objects
// in no order: steps below different fields are put into one, those below the same field
// keep theirs.
func remaining(from, to *corev1.Pod) ([]jsonpatch.Operation, error) {
	before, err := json.Marshal(remainder(from))
	if err != nil {
		return nil, err
	}
	after, err := json.Marshal(remainder(to))
	if err != nil {
		return nil, err
	}
	steps, err := jsonpatch.CreatePatch(before, after)
	slices.SortStableFunc(steps, func(a, b jsonpatch.Operation) int { return cmp.Compare(field(a.Path), field(b.Path)) })
	return steps, err
}

// field is the first two words of a path: "/spec/tolerations" of "/spec/tolerations/0/key".
func field(path string) string {
	words := 0
	for i := range path {
		if path[i] == '/' {
			words++
		}
		if words > 2 {
			return path[:i]
		}
	}
	return path
}

// remainder is the pod without what injection itself edits, and without its status.
func remainder(pod *corev1.Pod) *corev1.Pod {
	rest := &corev1.Pod{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
	rest.Labels, rest.Annotations, rest.ManagedFields = nil, nil, nil
	rest.Spec.InitContainers, rest.Spec.Containers = nil, nil
	rest.Spec.Volumes, rest.Spec.ImagePullSecrets, rest.Spec.SecurityContext = nil, nil, nil
	return rest
}
