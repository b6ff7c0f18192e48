package source

import (
	"fmt"
	"maps"
	"reflect"
	"strings"

	"sigs.k8s.io/yaml"
)

// rebase makes the changes that lead from one injector configuration of the chart's to
// another in one that the chart need not have written: keys, and names of templates and
// aliases, that do not change stay as they are.
func rebase(live, before, after string) (string, error) {
	switch {
	case before == after:
		return live, nil
	case strings.TrimSpace(live) == strings.TrimSpace(before):
		return after, nil
	}
	var trees [3]map[string]any
	for i, text := range []string{live, before, after} {
		if err := yaml.Unmarshal([]byte(text), &trees[i]); err != nil {
			return "", fmt.Errorf("parse the injector's configuration: %w", err)
		}
	}
	out, err := yaml.Marshal(rebased(trees[0], trees[1], trees[2]))
	if err != nil {
		return "", fmt.Errorf("write the injector's configuration: %w", err)
	}
	return string(out), nil
}

// rebased is rebase of maps; what is below maps is one value.
func rebased(live, before, after map[string]any) map[string]any {
	out := maps.Clone(live)
	if out == nil {
		out = map[string]any{}
	}
	for key := range before {
		if _, ok := after[key]; !ok {
			delete(out, key)
		}
	}
	for key, v := range after {
		if old, ok := before[key]; ok && reflect.DeepEqual(old, v) {
			continue
		}
		now, isMap := v.(map[string]any)
		if mine, ok := out[key].(map[string]any); ok && isMap {
			was, _ := before[key].(map[string]any)
			out[key] = rebased(mine, was, now)
			continue
		}
		out[key] = v
	}
	return out
}
