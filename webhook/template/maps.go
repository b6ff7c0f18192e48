package template

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// annotation is the annotation of the name, or def where the object has none.
func annotation(object metav1.ObjectMeta, name string, def any) string {
	if v, ok := object.Annotations[name]; ok {
		return v
	}
	if missing(def) {
		return ""
	}
	return fmt.Sprint(def)
}

// isset reports whether a map has a key, whatever it holds.
func isset(m any, key string) (bool, error) {
	if missing(m) {
		return false, nil
	}
	v := reflect.ValueOf(m)
	if v.Kind() != reflect.Map || v.Type().Key().Kind() != reflect.String {
		return false, fmt.Errorf("%T is no map of texts", m)
	}
	return v.MapIndex(reflect.ValueOf(key).Convert(v.Type().Key())).IsValid(), nil
}

// omit is a copy of a map without the keys.
func omit(m any, drop ...string) (any, error) {
	switch m := m.(type) {
	case nil:
		return map[string]any{}, nil
	case map[string]string:
		return without(m, drop), nil
	case map[string]any:
		return without(m, drop), nil
	}
	return nil, fmt.Errorf("%T is no map of texts", m)
}

func without[V any](m map[string]V, drop []string) map[string]V {
	out := make(map[string]V, len(m))
	for k, v := range m {
		if !slices.Contains(drop, k) {
			out[k] = v
		}
	}
	return out
}

// strdict makes a map of texts from keys and values in turn.
func strdict(words ...any) (map[string]string, error) {
	if len(words)%2 != 0 {
		return nil, fmt.Errorf("strdict wants keys and values in turn, it has %d arguments", len(words))
	}
	out := make(map[string]string, len(words)/2)
	for i := 0; i < len(words); i += 2 {
		out[fmt.Sprint(words[i])] = fmt.Sprint(words[i+1])
	}
	return out, nil
}

// mergeMaps joins maps of texts; later ones win.
func mergeMaps(list ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range list {
		maps.Copy(out, m)
	}
	return out
}

// toJSONMap is the JSON of mergeMaps.
func toJSONMap(list ...map[string]string) (string, error) { return toJSON(mergeMaps(list...)) }

// omitNil is a copy of a map without what is null, at any depth.
func omitNil(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		if missing(v) {
			continue
		}
		if inner, ok := v.(map[string]any); ok {
			v = omitNil(inner)
		}
		out[k] = v
	}
	return out
}

// keys lists the keys of maps in order; Sprig's order is by chance.
func keys(list ...map[string]any) []string {
	var out []string
	for _, m := range list {
		out = append(out, slices.Sorted(maps.Keys(m))...)
	}
	return out
}

// values lists what a map holds in the order of its keys.
func values(m map[string]any) []any {
	out := make([]any, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}
