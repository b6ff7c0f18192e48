package webhook

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// createComposedPatch is createPatch for a pod that text templates had a say in: beside
// what injection itself edits, any field may differ. Fields that this program does not know
// are in neither pod and stay as they are; a list that differs is replaced as a whole.
func createComposedPatch(from, to *corev1.Pod) ([]byte, error) {
	patch, err := createPatch(from, to)
	if err != nil {
		return nil, err
	}
	var ops []json.RawMessage
	if patch != nil {
		if err := json.Unmarshal(patch, &ops); err != nil {
			return nil, fmt.Errorf("join patches: %w", err)
		}
	}
	rest := &fieldPatcher{}
	if err := rest.compare(from, to); err != nil {
		return nil, err
	}
	for _, op := range rest.ops {
		data, err := json.Marshal(op)
		if err != nil {
			return nil, fmt.Errorf("encode patch: %w", err)
		}
		ops = append(ops, data)
	}
	if len(ops) == 0 {
		return nil, nil
	}
	data, err := json.Marshal(ops)
	if err != nil {
		return nil, fmt.Errorf("encode patch: %w", err)
	}
	return data, nil
}

// fieldPatcher compares objects field by field.
type fieldPatcher struct {
	ops []operation
}

func (p *fieldPatcher) compare(from, to *corev1.Pod) error {
	old, err := remainder(from)
	if err != nil {
		return err
	}
	now, err := remainder(to)
	if err != nil {
		return err
	}
	p.fields("", old, now)
	return nil
}

// remainder is the pod without what createPatch compares, and without its status.
func remainder(pod *corev1.Pod) (map[string]any, error) {
	rest := corev1.Pod{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
	rest.Labels, rest.Annotations = nil, nil
	rest.Spec.InitContainers, rest.Spec.Containers = nil, nil
	rest.Spec.Volumes, rest.Spec.ImagePullSecrets, rest.Spec.SecurityContext = nil, nil, nil
	out, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&rest)
	if err != nil {
		return nil, fmt.Errorf("compare pods: %w", err)
	}
	return out, nil
}

func (p *fieldPatcher) fields(path string, from, to map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(from)) {
		if _, ok := to[key]; !ok {
			p.ops = append(p.ops, operation{Op: "remove", Path: path + "/" + escape(key)})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(to)) {
		at := path + "/" + escape(key)
		old, ok := from[key]
		inner, isMap := to[key].(map[string]any)
		before, wasMap := old.(map[string]any)
		switch {
		case reflect.DeepEqual(old, to[key]):
		case isMap && wasMap:
			p.fields(at, before, inner)
		case ok:
			p.ops = append(p.ops, operation{Op: "replace", Path: at, Value: to[key]})
		default:
			p.ops = append(p.ops, operation{Op: "add", Path: at, Value: to[key]})
		}
	}
}
