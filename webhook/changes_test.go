package webhook

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// changesOf lists the fields in which got differs from the same pod injected without its
// annotations and without ProxyConfigs: what these do. Annotations themselves are left out.
func changesOf(t *testing.T, c testCase, got *corev1.Pod) []string {
	t.Helper()
	annotations := c.Pod.Annotations
	c.Pod, c.ProxyConfigs = c.Pod.DeepCopy(), nil
	c.Pod.Annotations = nil
	plain := Inject(settingsOf(t, c), c.request())
	if plain.Pod == nil {
		t.Fatalf("the pod without annotations is not injected: %v", plain.Problems)
	}
	from, to := map[string]string{}, map[string]string{}
	flatten(t, plain.Pod, from)
	flatten(t, got, to)
	for key := range annotations {
		if _, written := from["metadata.annotations["+key+"]"]; !written {
			delete(to, "metadata.annotations["+key+"]")
		}
	}
	var out []string
	for path, value := range to {
		if from[path] != value {
			out = append(out, path+": "+value)
		}
	}
	for path := range from {
		if _, ok := to[path]; !ok {
			out = append(out, path+": removed")
		}
	}
	slices.Sort(out)
	return out
}

// flatten writes a pod as paths and values; elements of lists go by their names, so that
// one that is added does not change the paths of the others.
func flatten(t *testing.T, pod *corev1.Pod, out map[string]string) {
	t.Helper()
	var tree any
	if err := json.Unmarshal([]byte(marshal(t, pod)), &tree); err != nil {
		t.Fatal(err)
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				at := path + "." + key
				if strings.ContainsAny(key, "./") {
					at = path + "[" + key + "]"
				}
				walk(strings.TrimPrefix(at, "."), v[key])
			}
		case []any:
			if words := list(v); words != "" {
				out[path] = words
				return
			}
			for i, element := range v {
				walk(fmt.Sprintf("%s[%s]", path, elementName(i, element)), element)
			}
		default:
			out[path] = fmt.Sprint(v)
		}
	}
	walk("", tree)
}

// list is a list of words as one text; empty for a list of anything else.
func list(v []any) string {
	var words []string
	for _, element := range v {
		word, ok := element.(string)
		if !ok {
			return ""
		}
		if word == "" {
			word = `""`
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func elementName(i int, element any) string {
	fields, _ := element.(map[string]any)
	for _, key := range []string{"mountPath", "name", "containerPort"} {
		if v, ok := fields[key]; ok {
			return fmt.Sprint(v)
		}
	}
	return fmt.Sprint(i)
}

func TestFlatten(t *testing.T) {
	got := map[string]string{}
	flatten(t, &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{
		{Name: "a", Args: []string{"x", ""}, Ports: []corev1.ContainerPort{{ContainerPort: 80}}},
	}}}, got)
	want := map[string]string{
		"spec.containers[a].name": "a", "spec.containers[a].args": `x ""`, "spec.containers[a].ports[80].containerPort": "80",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
