package document

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sluicemesh/sluice/cli/workload"
)

// Item is one object that makes pods: a document, or an item of a List in one.
type Item struct {
	// Object is the whole object.
	Object map[string]any
	// Kind is its kind.
	Kind workload.Kind
	// Pod is the pod that its template makes, as workload.Kind.Pod says.
	Pod *corev1.Pod

	path []any // of the template in the document: keys and indices
}

// Items lists the objects in the document that make pods, in the order of the text. It is
// an error for such a document to have a key twice.
func (d *Document) Items() ([]Item, error) {
	out, err := items(d.Object, nil)
	if err != nil || len(out) == 0 || d.json {
		return out, err
	}
	var root yaml.Node
	if err := yaml.Unmarshal(d.text, &root); err != nil {
		return nil, err
	}
	if key, line, again := twice(&root); key != "" {
		return nil, fmt.Errorf("%s: %q is there twice, in lines %d and %d of the document", workload.Title(d.Object), key, line, again)
	}
	return out, nil
}

// twice returns the first key that a map below n has twice, and its lines.
func twice(n *yaml.Node) (key string, line, again int) {
	if n.Kind == yaml.MappingNode {
		lines := map[string]int{}
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i]
			if line, ok := lines[key.Value]; ok && key.Kind == yaml.ScalarNode {
				return key.Value, line, key.Line
			}
			lines[key.Value] = key.Line
		}
	}
	for _, c := range n.Content {
		if key, line, again := twice(c); key != "" {
			return key, line, again
		}
	}
	return "", 0, 0
}

func items(object map[string]any, path []any) ([]Item, error) {
	if list, ok := listOf(object); ok {
		var out []Item
		for i, entry := range list {
			inner, ok := entry.(map[string]any)
			if !ok {
				continue
			}
			found, err := items(inner, append(path[:len(path):len(path)], "items", i))
			if err != nil {
				return nil, err
			}
			out = append(out, found...)
		}
		return out, nil
	}
	kind, ok := workload.Of(object)
	if !ok {
		return nil, nil
	}
	pod, ok, err := kind.Pod(object)
	if !ok {
		return nil, err
	}
	path = path[:len(path):len(path)]
	for _, key := range kind.Template {
		path = append(path, key)
	}
	return []Item{{Object: object, Kind: kind, Pod: pod, path: path}}, nil
}

// listOf returns the items of a List, or of a list with a type, as a PodList.
func listOf(object map[string]any) ([]any, bool) {
	if kind, _ := object["kind"].(string); !strings.HasSuffix(kind, "List") {
		return nil, false
	}
	list, ok := object["items"].([]any)
	return list, ok
}

// Edit changes the item's template by what differs between the item's pod and pod. Equal
// pods change no byte. The document is changed; its Object and its Items are as before.
func (d *Document) Edit(item Item, pod *corev1.Pod) error {
	base, err := item.tree(item.Pod)
	if err != nil {
		return err
	}
	want, err := item.tree(pod)
	if err != nil {
		return err
	}
	if reflect.DeepEqual(base, want) {
		return nil
	}
	text, err := d.rewrite(change{path: item.path, base: base, want: want})
	if err != nil {
		return fmt.Errorf("write %s: %w", workload.Title(item.Object), err)
	}
	d.text = text
	return nil
}

// change is an edit of the subtree at path.
type change struct {
	path       []any
	base, want any
}

// tree is the form of a pod that the text has.
func (i Item) tree(pod *corev1.Pod) (any, error) {
	out, err := Tree(pod)
	if meta, ok := out["metadata"].(map[string]any); ok && len(i.Kind.Template) > 0 {
		// The controller gives these to the pods, see workload.Kind.Pod.
		for _, key := range []string{"name", "namespace", "generateName", "ownerReferences"} {
			delete(meta, key)
		}
	}
	if meta, ok := out["metadata"].(map[string]any); ok && len(meta) == 0 {
		delete(out, "metadata")
	}
	return out, err
}

// Tree is the JSON form of a pod as a person would write it: without a status, and without
// empty values that only the Go type has.
func Tree(pod *corev1.Pod) (map[string]any, error) {
	out, err := runtime.DefaultUnstructuredConverter.ToUnstructured(pod)
	if err != nil {
		return nil, fmt.Errorf("read a pod: %w", err)
	}
	delete(out, "status")
	if meta, ok := out["metadata"].(map[string]any); ok && meta["creationTimestamp"] == nil {
		delete(meta, "creationTimestamp")
	}
	spec, _ := out["spec"].(map[string]any)
	for _, list := range []string{"containers", "initContainers", "ephemeralContainers"} {
		containers, _ := spec[list].([]any)
		for _, c := range containers {
			c, _ := c.(map[string]any)
			if r, ok := c["resources"].(map[string]any); ok && len(r) == 0 {
				delete(c, "resources")
			}
		}
	}
	return out, nil
}

// rewrite returns the text with the change made.
func (d *Document) rewrite(c change) ([]byte, error) {
	// The change made to the bare tree is what the text must mean in the end.
	current := &Document{text: d.text, json: d.json}
	if err := current.read(); err != nil {
		return nil, err
	}
	plain, err := encode(current.Object)
	if err != nil {
		return nil, err
	}
	if err := c.apply(plain); err != nil {
		return nil, err
	}
	if d.json {
		return writeJSON(plain, indentOf(d.text))
	}
	style := styleOf(d.text)
	bare, err := style.write(plain)
	if err != nil {
		return nil, err
	}
	if kept, ok := d.keep(c, style); ok && sameMeaning(kept, bare) {
		return d.frame(kept), nil
	}
	return d.frame(bare), nil
}

// keep makes the change in the text's own form, with its order and comments; false when
// that form cannot be kept, as where one place of the text stands for several.
func (d *Document) keep(c change, s style) ([]byte, bool) {
	var root yaml.Node
	if err := yaml.Unmarshal(d.text, &root); err != nil || shared(&root) {
		return nil, false
	}
	if err := c.apply(root.Content[0]); err != nil {
		return nil, false
	}
	text, err := s.write(&root)
	return text, err == nil
}

// frame puts the line feeds around a document that separate it from dashes.
func (d *Document) frame(text []byte) []byte {
	if len(d.before) > 0 {
		return append([]byte("\n"), text...)
	}
	return text
}

// sameMeaning reports whether two texts read as the same object.
func sameMeaning(a, b []byte) bool {
	x, y := &Document{text: a}, &Document{text: b}
	return x.read() == nil && y.read() == nil && reflect.DeepEqual(x.Object, y.Object)
}

// shared reports whether a node is used in several places of the document.
func shared(n *yaml.Node) bool {
	if n.Kind == yaml.AliasNode || n.Tag == "!!merge" {
		return true
	}
	for _, c := range n.Content {
		if shared(c) {
			return true
		}
	}
	return false
}

// style is how a text writes lists in maps.
type style struct{ indented bool }

// styleOf finds whether the first list below a key is indented.
func styleOf(text []byte) style {
	indent := func(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }
	key := -1
	for line := range strings.Lines(string(text)) {
		body := strings.TrimSpace(line)
		switch {
		case body == "" || strings.HasPrefix(body, "#"):
		case strings.HasPrefix(body, "- ") && key >= 0:
			return style{indented: indent(line) > key}
		default:
			key = -1
			if strings.HasSuffix(body, ":") {
				key = indent(line)
			}
		}
	}
	return style{}
}

func (s style) write(n *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if !s.indented {
		e.CompactSeqIndent()
	}
	if err := e.Encode(n); err != nil {
		return nil, err
	}
	if err := e.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// indentOf is the indentation of a JSON text's first member; empty for a text in one line.
func indentOf(text []byte) string {
	_, rest, ok := bytes.Cut(text, []byte("\n"))
	if !ok {
		return ""
	}
	return string(rest[:len(rest)-len(bytes.TrimLeft(rest, " \t"))])
}

func writeJSON(n *yaml.Node, indent string) ([]byte, error) {
	var object any
	if err := n.Decode(&object); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(object); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
