package webhook

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// patchComposed is patch for a pod that text templates had a say in: beside what injection
// itself edits, any field may differ. Fields that this program does not know are in neither
// pod and stay as they are; a list that differs is replaced as a whole.
func (p *patcher) patchComposed(from, to *corev1.Pod, known fragments) ([]byte, error) {
	p.edits(from, to, known)
	before, err := remainder(from)
	if err != nil {
		return nil, err
	}
	after, err := remainder(to)
	if err != nil {
		return nil, err
	}
	p.difference(place{index: whole}, before, after)
	return p.finish()
}

// remainder is the pod without what injection itself edits, and without its status.
func remainder(pod *corev1.Pod) (map[string]any, error) {
	rest := corev1.Pod{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
	rest.Labels, rest.Annotations, rest.ManagedFields = nil, nil, nil
	rest.Spec.InitContainers, rest.Spec.Containers = nil, nil
	rest.Spec.Volumes, rest.Spec.ImagePullSecrets, rest.Spec.SecurityContext = nil, nil, nil
	out, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&rest)
	if err != nil {
		return nil, fmt.Errorf("compare pods: %w", err)
	}
	return out, nil
}
