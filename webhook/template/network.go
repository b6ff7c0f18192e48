package template

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/meta"
)

// excludeInboundPort adds a port to a list of ports, "80,443"; no port, 0 and a port that
// is there already change nothing.
func excludeInboundPort(port any, list string) (string, error) {
	text := ""
	if !missing(port) {
		text = strings.TrimSpace(fmt.Sprint(port))
	}
	if text == "" || text == "0" {
		return list, nil
	}
	if _, err := strconv.ParseUint(text, 10, 16); err != nil {
		return "", fmt.Errorf("%q is not a port", text)
	}
	words := commaList(list)
	if slices.Contains(words, text) {
		return list, nil
	}
	return strings.Join(append(words, text), ","), nil
}

// includeInboundPorts lists the TCP ports that containers declare.
func includeInboundPorts(containers []corev1.Container) string {
	return tcpPorts(containers, func(string) bool { return true })
}

// applicationPorts is includeInboundPorts without the proxy's.
func applicationPorts(containers []corev1.Container) string {
	return tcpPorts(containers, func(name string) bool { return name != meta.ProxyContainer })
}

func tcpPorts(containers []corev1.Container, want func(name string) bool) string {
	var out []string
	for i := range containers {
		if !want(containers[i].Name) {
			continue
		}
		for _, p := range containers[i].Ports {
			text := strconv.Itoa(int(p.ContainerPort))
			if (p.Protocol == "" || p.Protocol == corev1.ProtocolTCP) && !slices.Contains(out, text) {
				out = append(out, text)
			}
		}
	}
	return strings.Join(out, ",")
}

// interfaces writes a list of interfaces as the capture program reads it.
func interfaces(list string) string { return strings.Join(commaList(list), ",") }

// commaList splits at commas and drops blanks and what is empty.
func commaList(list string) []string {
	var out []string
	for word := range strings.SplitSeq(list, ",") {
		if word = strings.TrimSpace(word); word != "" {
			out = append(out, word)
		}
	}
	return out
}

// appendMultusNetwork adds a network, "namespace/name", to the value of the annotation
// k8s.v1.cni.cncf.io/networks, which is a list with commas or of JSON objects. A network
// that is there already changes nothing, and JSON that cannot be read is left alone.
func appendMultusNetwork(list, network string) string {
	if strings.TrimSpace(list) == "" {
		return network
	}
	if strings.HasPrefix(strings.TrimSpace(list), "[") {
		return appendMultusObject(list, network)
	}
	if slices.Contains(commaList(list), network) {
		return list
	}
	return list + "," + network
}

func appendMultusObject(list, network string) string {
	var objects []json.RawMessage
	if json.Unmarshal([]byte(list), &objects) != nil {
		return list
	}
	type selection struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace,omitempty"`
	}
	added := selection{Name: network}
	if namespace, name, ok := strings.Cut(network, "/"); ok {
		added = selection{Name: name, Namespace: namespace}
	}
	for _, o := range objects {
		var have selection
		if json.Unmarshal(o, &have) == nil && (have == added || have.Name == network) {
			return list
		}
	}
	text, err := json.Marshal(added)
	if err != nil {
		return list
	}
	out, err := json.Marshal(append(objects, text))
	if err != nil {
		return list
	}
	return string(out)
}
