package webhook

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// patchComposed is patch for a pod that text templates had a say in: beside what injection
// itself edits, any field may differ. Fields that this program does not know are in neither
// pod and stay as they are; a list that differs is replaced as a whole.
func (p *patcher) patchComposed(from, to *corev1.Pod) ([]byte, error) {
	p.edits(from, to)
	before, err := remainder(from)
	if err != nil {
		return nil, err
	}
	after, err := remainder(to)
	if err != nil {
		return nil, err
	}
	p.fields("", before, after)
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

// fields writes the steps between two objects, key by key.
func (p *patcher) fields(path string, from, to map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(from)) {
		if _, ok := to[key]; !ok {
			p.keyStep("remove", path, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(to)) {
		old, ok := from[key]
		before, wasMap := old.(map[string]any)
		after, isMap := to[key].(map[string]any)
		switch {
		case reflect.DeepEqual(old, to[key]):
		case isMap && wasMap:
			p.fields(path+"/"+escape(key), before, after)
		case ok:
			p.keyStep("replace", path, key)
			p.encode(to[key])
		default:
			p.keyStep("add", path, key)
			p.encode(to[key])
		}
	}
}
