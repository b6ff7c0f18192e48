package render

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// directive begins the keys that say how to merge instead of what.
const directive = "$"

// Lists of a pod's specification, as the patches spell them.
const (
	containers       = "containers"
	initContainers   = "initContainers"
	volumes          = "volumes"
	imagePullSecrets = "imagePullSecrets"
)

// lay merges the overlays into the pod, one after the other.
func (c *composer) lay(overlays []Overlay) bool {
	doc, err := runtime.DefaultUnstructuredConverter.ToUnstructured(c.out)
	if err != nil {
		c.failed("", err.Error())
		return false
	}
	for _, o := range overlays {
		if at := oddKey("", o.Patch); at != "" {
			c.failed(o.Template, at+" tells elements of the list apart, it must be a text or a number")
			return false
		}
		c.prepare(o, doc)
		merged, err := strategicpatch.StrategicMergeMapPatch(doc, o.Patch, corev1.Pod{})
		if err != nil {
			c.failed(o.Template, "cannot be merged with the pod: "+err.Error())
			return false
		}
		doc = merged
	}
	out := &corev1.Pod{}
	err = runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(doc, out, true)
	if strict, ok := runtime.AsStrictDecodingError(err); ok {
		for _, e := range strict.Errors() {
			c.dubious(templates(overlays), e.Error()+" of a pod, it has no effect")
		}
	} else if err != nil {
		c.failed(templates(overlays), "the result is no pod: "+explain(doc, err))
		return false
	}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	if out.Annotations == nil {
		out.Annotations = map[string]string{}
	}
	c.out = out
	return true
}

// mergeKeys are the fields by which the elements of a pod's lists are told apart.
func mergeKeys() []string {
	return []string{"name", "mountPath", "devicePath", "containerPort", "ip", "topologyKey", "uid"}
}

// oddKey returns the place of a list's element whose key is an object or a list, "" for
// none: the library compares keys without looking what they are, and panics.
func oddKey(path string, v any) string {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if at := oddKey(path+"."+key, v[key]); at != "" {
				return at
			}
		}
	case []any:
		for i, item := range v {
			at := path + "[" + strconv.Itoa(i) + "]"
			element, _ := item.(map[string]any)
			for _, key := range mergeKeys() {
				switch element[key].(type) {
				case map[string]any, []any:
					return strings.TrimPrefix(at+"."+key, ".")
				}
			}
			if odd := oddKey(at, item); odd != "" {
				return odd
			}
		}
	}
	return ""
}

// explain finds the field of the pod that the converter does not name.
func explain(doc map[string]any, err error) string {
	text, encoding := json.Marshal(doc)
	if encoding != nil {
		return err.Error()
	}
	if decoding := json.Unmarshal(text, &corev1.Pod{}); decoding != nil {
		err = decoding
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// prepare turns an overlay into one that fits the pod as it is now.
func (c *composer) prepare(o Overlay, doc map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(o.Patch)) {
		switch key {
		case "metadata", "spec":
		case "kind", "apiVersion", "status":
			delete(o.Patch, key)
		default:
			delete(o.Patch, key)
			c.dubious(o.Template, "unknown field "+key+" of a pod, it has no effect")
		}
	}
	if metadata, ok := o.Patch["metadata"].(map[string]any); ok {
		// Describe has done these.
		delete(metadata, "labels")
		delete(metadata, "annotations")
	}
	patch, _ := o.Patch["spec"].(map[string]any)
	spec, _ := doc["spec"].(map[string]any)
	if patch == nil || spec == nil {
		return
	}
	relocate(patch, spec, containers, initContainers)
	relocate(patch, spec, initContainers, containers)
	retype(patch, spec)
}

// relocate moves what a patch says about a container to the list that the container is
// in: a name is unique in both lists, and whether the proxy is an init container is not for
// an overlay to know.
func relocate(patch, spec map[string]any, from, to string) {
	list, ok := patch[from].([]any)
	if !ok {
		return
	}
	var stay, move []any
	for _, item := range list {
		if name := nameOf(item); name != "" && !has(spec[from], name) && has(spec[to], name) {
			move = append(move, item)
		} else {
			stay = append(stay, item)
		}
	}
	if len(move) == 0 {
		return
	}
	there, _ := patch[to].([]any)
	patch[to] = slices.Concat(there, move)
	patch[from] = stay
	if len(stay) == 0 {
		delete(patch, from)
	}
}

// retype lets a volume of another kind take the place of the one of its name. Merged, it
// would have two kinds, which the API server refuses.
func retype(patch, spec map[string]any) {
	list, _ := patch[volumes].([]any)
	for _, item := range list {
		v, _ := item.(map[string]any)
		keys := slices.Sorted(maps.Keys(v))
		if len(keys) < 2 || strings.HasPrefix(keys[0], directive) || !has(spec[volumes], nameOf(v)) {
			continue
		}
		retain := make([]any, len(keys))
		for i, key := range keys {
			retain[i] = key
		}
		v["$retainKeys"] = retain
	}
}

// mentioned lists the names in one of the lists that overlays add something to, in order
// and once each; what they delete is not among them.
func mentioned(overlays []Overlay, fields ...string) []string {
	var out []string
	for _, o := range overlays {
		spec, _ := o.Patch["spec"].(map[string]any)
		for _, field := range fields {
			list, _ := spec[field].([]any)
			for _, item := range list {
				v, _ := item.(map[string]any)
				if name := nameOf(item); v["$patch"] == nil && name != "" && !slices.Contains(out, name) {
					out = append(out, name)
				}
			}
		}
	}
	return out
}

func nameOf(item any) string {
	v, _ := item.(map[string]any)
	name, _ := v["name"].(string)
	return name
}

func has(list any, name string) bool {
	items, _ := list.([]any)
	return slices.ContainsFunc(items, func(item any) bool { return nameOf(item) == name })
}

// templates names the overlays for a message about all of them.
func templates(overlays []Overlay) string {
	var out []string
	for _, o := range overlays {
		out = append(out, o.Template)
	}
	return strings.Join(out, ", ")
}

func (w *writer) failed(template, message string) {
	w.report("", TemplateFailed, true, "template "+template+": "+message)
}

func (w *writer) dubious(template, message string) {
	w.report("", DubiousTemplate, false, "template "+template+": "+message)
}
