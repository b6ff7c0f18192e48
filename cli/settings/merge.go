package settings

import (
	"encoding/json"
	"fmt"
	"strings"

	"helm.sh/helm/v4/pkg/strvals"
	"sigs.k8s.io/yaml"
)

// aliases are the places in values that mean a field of spec. Each layer is rewritten to the
// field, so that of two layers the later one wins whichever place it uses.
func aliases() map[string][]string {
	return map[string][]string{
		"hub":        {"values", "global", "hub"},
		"tag":        {"values", "global", "tag"},
		"namespace":  {"values", "global", "istioNamespace"},
		"revision":   {"values", "revision"},
		"meshConfig": {"values", "meshConfig"},
	}
}

// normalise moves what is written at an alias to the field it means. spec is changed.
func normalise(spec map[string]any) map[string]any {
	if spec == nil {
		spec = map[string]any{}
	}
	for field, path := range aliases() {
		parent := spec
		for _, key := range path[:len(path)-1] {
			parent, _ = parent[key].(map[string]any)
		}
		last := path[len(path)-1]
		if v, ok := parent[last]; ok {
			delete(parent, last)
			spec[field] = overlay(spec[field], v)
		}
	}
	return spec
}

// overlay lays over on base: maps by key, lists of named maps by name, all else replaced.
// Neither is changed; a null stays, as it removes a chart's default.
func overlay(base, over any) any {
	switch o := over.(type) {
	case map[string]any:
		b, _ := base.(map[string]any)
		out := make(map[string]any, len(b)+len(o))
		for k, v := range b {
			out[k] = v
		}
		for k, v := range o {
			if isGatewayList(k) {
				out[k] = overlayNamed(out[k], v)
			} else {
				out[k] = overlay(out[k], v)
			}
		}
		return out
	default:
		return over
	}
}

// isGatewayList reports whether the list at this key is merged by name.
func isGatewayList(key string) bool { return key == "ingressGateways" || key == "egressGateways" }

// overlayNamed lays the items of over on those of base with the same name and appends the rest.
func overlayNamed(base, over any) any {
	b, _ := base.([]any)
	o, ok := over.([]any)
	if !ok {
		return over
	}
	out := append([]any{}, b...)
	for _, item := range o {
		if i := indexNamed(out, item); i >= 0 {
			out[i] = overlay(out[i], item)
		} else {
			out = append(out, item)
		}
	}
	return out
}

// indexNamed finds the item with the same name and namespace, -1 if there is none.
func indexNamed(list []any, item any) int {
	want, _ := item.(map[string]any)
	for i, v := range list {
		m, _ := v.(map[string]any)
		if m != nil && want != nil && m["name"] == want["name"] && m["namespace"] == want["namespace"] {
			return i
		}
	}
	return -1
}

// assign writes one path=value into tree.
//
// A value that starts like a list or map of YAML is read as one. Any other is a scalar, and
// a comma in it is part of it, as IP ranges have them.
func assign(set string, tree map[string]any) error {
	path, value, ok := strings.Cut(set, "=")
	if !ok || path == "" {
		return fmt.Errorf("must be path=value")
	}
	path = strings.TrimPrefix(path, "spec.")
	for field, alias := range aliases() {
		from := strings.Join(alias, ".")
		if path == from || strings.HasPrefix(path, from+".") {
			path = field + strings.TrimPrefix(path, from)
		}
	}
	if strings.HasPrefix(value, "[") || strings.HasPrefix(value, "{") {
		var v any
		if err := yaml.Unmarshal([]byte(value), &v); err != nil {
			return fmt.Errorf("value is no YAML: %w", err)
		}
		data, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return strvals.ParseJSON(path+"="+string(data), tree)
	}
	return strvals.ParseInto(path+"="+strings.ReplaceAll(value, ",", `\,`), tree)
}

// texts makes strings of the fields that are, where YAML or an assignment saw a number.
func texts(spec map[string]any) {
	for _, key := range []string{"hub", "tag", "revision", "namespace"} {
		switch v := spec[key].(type) {
		case nil:
			delete(spec, key)
		case string:
		case map[string]any, []any:
			// Left for the decoder to name.
		default:
			spec[key] = fmt.Sprint(v)
		}
	}
}
