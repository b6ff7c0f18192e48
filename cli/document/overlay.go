package document

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// apply makes the change in the tree below root.
func (c change) apply(root *yaml.Node) error {
	node, above := root, []*yaml.Node{}
	for _, step := range c.path {
		above = append(above, node)
		switch step := step.(type) {
		case string:
			node = value(node, step)
		case int:
			if node != nil && node.Kind == yaml.SequenceNode && step < len(node.Content) {
				node = node.Content[step]
			} else {
				node = nil
			}
		}
		if node == nil {
			return fmt.Errorf("there is no %v in the document", step)
		}
	}
	large, err := overlay(node, c.base, c.want)
	for _, n := range above {
		unfold(n, large)
	}
	return err
}

// few is how many values may be added to a map between braces before it becomes one with a
// key a line.
const few = 4

// unfold turns a node between braces into one of lines, where something large came into it.
func unfold(n *yaml.Node, large bool) {
	if large {
		n.Style &^= yaml.FlowStyle
	}
}

// value returns the value of a key in a map; nil for none.
func value(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// overlay changes n where want differs from base. base is what n means to the program that
// made want from it: what n has beside base stays. The result reports whether something
// came into n that is too large for one line.
func overlay(n *yaml.Node, base, want any) (large bool, err error) {
	if reflect.DeepEqual(base, want) {
		return false, nil
	}
	switch want := want.(type) {
	case map[string]any:
		if b, ok := base.(map[string]any); ok && n.Kind == yaml.MappingNode && len(n.Content) > 0 {
			large, err = overlayMap(n, b, want)
			unfold(n, large)
			return large, err
		}
	case []any:
		if b, ok := base.([]any); ok && n.Kind == yaml.SequenceNode && len(b) == len(n.Content) && len(b) > 0 {
			large, err = overlayList(n, b, want)
			unfold(n, large)
			return large, err
		}
	}
	return replace(n, want)
}

// replace gives n another value; its comments stay.
func replace(n *yaml.Node, want any) (large bool, err error) {
	fresh, err := encode(want)
	if err != nil {
		return false, err
	}
	fresh.HeadComment, fresh.LineComment, fresh.FootComment = n.HeadComment, n.LineComment, n.FootComment
	*n = *fresh
	return len(n.Content) > 0, nil
}

// encode makes a node of a value. Lists and maps are taken apart here, as the library loses
// some texts of several lines on the way through its own.
func encode(v any) (*yaml.Node, error) {
	n := &yaml.Node{}
	switch v := v.(type) {
	case map[string]any:
		n.Kind = yaml.MappingNode
		for _, name := range slices.Sorted(maps.Keys(v)) {
			key, keyErr := encode(name)
			child, childErr := encode(v[name])
			if err := errors.Join(keyErr, childErr); err != nil {
				return nil, err
			}
			n.Content = append(n.Content, key, child)
		}
		return n, nil
	case []any:
		n.Kind = yaml.SequenceNode
		for _, element := range v {
			child, err := encode(element)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		return n, nil
	case string:
		if strings.Contains(v, "\n") {
			n.SetString(v)
			if !block.MatchString(v) {
				n.Style = yaml.DoubleQuotedStyle
			}
			return n, nil
		}
	}
	if err := n.Encode(v); err != nil {
		return nil, err
	}
	return n, nil
}

// block is a text that a literal block holds without tricks.
var block = regexp.MustCompile(`^([[:graph:]]|[[:graph:]][[:print:]]*[[:graph:]])(\n|\n([[:graph:]]|[[:graph:]][[:print:]]*[[:graph:]]))*$`)

// overlayMap keeps the order of the keys. New ones come at their place in the alphabet if
// the others are in its order, else at the end.
func overlayMap(n *yaml.Node, base, want map[string]any) (large bool, err error) {
	var kept []*yaml.Node
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, v := n.Content[i], n.Content[i+1]
		w, wanted := want[key.Value]
		if _, had := base[key.Value]; had && !wanted {
			continue
		}
		if wanted {
			below, failure := overlay(v, base[key.Value], w)
			large, err = large || below, errors.Join(err, failure)
		}
		seen[key.Value] = true
		kept = append(kept, key, v)
	}
	added := 0
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if seen[name] {
			continue
		}
		key, keyErr := encode(name)
		v, valueErr := encode(want[name])
		if e := errors.Join(keyErr, valueErr); e != nil {
			return false, e
		}
		added++
		large = large || len(v.Content) > 0
		kept = slices.Insert(kept, placeOf(kept, name), key, v)
	}
	n.Content = kept
	return large || added > few, err
}

// placeOf is where a key is inserted among keys and values.
func placeOf(content []*yaml.Node, name string) int {
	at := len(content)
	for i := 0; i+1 < len(content); i += 2 {
		if i >= 2 && content[i-2].Value > content[i].Value {
			return len(content)
		}
		if at == len(content) && content[i].Value > name {
			at = i
		}
	}
	return at
}

// overlayList puts the elements in the wanted order; one that was there keeps its form.
func overlayList(n *yaml.Node, base, want []any) (large bool, err error) {
	used := make([]bool, len(base))
	var out []*yaml.Node
	for _, w := range want {
		i := find(base, used, w)
		if i < 0 {
			fresh, err := encode(w)
			if err != nil {
				return false, err
			}
			large = large || len(fresh.Content) > 0
			out = append(out, fresh)
			continue
		}
		used[i] = true
		below, err := overlay(n.Content[i], base[i], w)
		if err != nil {
			return false, err
		}
		large = large || below
		out = append(out, n.Content[i])
	}
	n.Content = out
	return large, nil
}

// find returns the index of the element that w is, perhaps changed; -1 for none.
func find(list []any, used []bool, w any) int {
	id := Identity(w)
	for i, b := range list {
		if !used[i] && (id != "" && id == Identity(b) || id == "" && reflect.DeepEqual(w, b)) {
			return i
		}
	}
	return -1
}

// Identity is what tells an element of a list from the others, as Kubernetes merges lists:
// the name, or the path of a mount, or port and protocol; empty where it is the value.
func Identity(element any) string {
	m, ok := element.(map[string]any)
	if !ok {
		return ""
	}
	if path, ok := m["mountPath"].(string); ok {
		return path
	}
	if port, ok := m["containerPort"]; ok {
		protocol, ok := m["protocol"]
		if !ok {
			protocol = "TCP"
		}
		return fmt.Sprintf("%v/%v", port, protocol)
	}
	name, _ := m["name"].(string)
	return name
}
