package template

import (
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
