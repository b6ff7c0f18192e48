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
	node := root
	for _, step := range c.path {
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
	return overlay(node, c.base, c.want)
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
// made want from it: what n has beside base stays.
func overlay(n *yaml.Node, base, want any) error {
	if reflect.DeepEqual(base, want) {
		return nil
	}
	switch want := want.(type) {
	case map[string]any:
		if b, ok := base.(map[string]any); ok && n.Kind == yaml.MappingNode && len(n.Content) > 0 {
			return overlayMap(n, b, want)
		}
	case []any:
		if b, ok := base.([]any); ok && n.Kind == yaml.SequenceNode && len(b) == len(n.Content) && len(b) > 0 {
			return overlayList(n, b, want)
		}
	}
	return replace(n, want)
}

// replace gives n another value; its comments stay.
func replace(n *yaml.Node, want any) error {
	fresh, err := encode(want)
	if err != nil {
		return err
	}
	fresh.HeadComment, fresh.LineComment, fresh.FootComment = n.HeadComment, n.LineComment, n.FootComment
	*n = *fresh
	return nil
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
func overlayMap(n *yaml.Node, base, want map[string]any) error {
	var kept []*yaml.Node
	seen := map[string]bool{}
	var err error
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, v := n.Content[i], n.Content[i+1]
		w, wanted := want[key.Value]
		if _, had := base[key.Value]; had && !wanted {
			continue
		}
		if wanted {
			err = errors.Join(err, overlay(v, base[key.Value], w))
		}
		seen[key.Value] = true
		kept = append(kept, key, v)
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if seen[name] {
			continue
		}
		key, keyErr := encode(name)
		v, valueErr := encode(want[name])
		if e := errors.Join(keyErr, valueErr); e != nil {
			return e
		}
		at := placeOf(kept, name)
		kept = slices.Insert(kept, at, key, v)
	}
	n.Content = kept
	return err
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
func overlayList(n *yaml.Node, base, want []any) error {
	used := make([]bool, len(base))
	var out []*yaml.Node
	for _, w := range want {
		i := find(base, used, w)
		if i < 0 {
			fresh, err := encode(w)
			if err != nil {
				return err
			}
			out = append(out, fresh)
			continue
		}
		used[i] = true
		if err := overlay(n.Content[i], base[i], w); err != nil {
			return err
		}
		out = append(out, n.Content[i])
	}
	n.Content = out
	return nil
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
