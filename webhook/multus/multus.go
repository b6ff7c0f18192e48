// Package multus writes the annotation by which Multus learns what networks to attach to a
// pod.
//
// Value in, value out: it knows neither pods nor settings, and does not judge what others
// wrote. The package is pure.
package multus

import (
	"encoding/json"
	"slices"
	"strings"
)

// element is what tells one network from another in a JSON list.
type element struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
}

// Append adds a network, "namespace/name", to the value of the annotation
// k8s.v1.cni.cncf.io/networks in the form that its author chose: names with commas, or a
// JSON list, whose other fields are kept. A network that is there already changes nothing,
// and JSON that cannot be read is left to Multus to complain about.
func Append(list, network string) string {
	list = strings.TrimSpace(list)
	switch {
	case list == "":
		return network
	case strings.HasPrefix(list, "["):
		return appendJSON(list, network)
	case slices.ContainsFunc(strings.Split(list, ","), func(n string) bool { return strings.TrimSpace(n) == network }):
		return list
	}
	return list + "," + network
}

func appendJSON(list, network string) string {
	var raw []json.RawMessage
	var known []element
	if json.Unmarshal([]byte(list), &raw) != nil || json.Unmarshal([]byte(list), &known) != nil {
		return list
	}
	added := element{Name: network}
	if namespace, name, ok := strings.Cut(network, "/"); ok {
		added = element{Name: name, Namespace: namespace}
	}
	for _, n := range known {
		// Without a namespace a network is in the one that Multus is told, as a rule "default".
		if n == added || n.Name == network || n.Namespace == "" && n.Name == added.Name && added.Namespace == "default" {
			return list
		}
	}
	text, err := json.Marshal(added)
	if err != nil {
		return list // texts alone: cannot fail
	}
	out, err := json.Marshal(append(raw, text))
	if err != nil {
		return list
	}
	return string(out)
}
