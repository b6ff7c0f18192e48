package class

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicemesh/sluice/internal/nodemeta"
)

// podLabels are labels whose values differ between the pods of one workload. Nothing in
// the mesh selects by them.
// Source: Kubernetes well-known labels.
func podLabels() []string {
	return []string{
		"pod-template-hash", "controller-revision-hash", "pod-template-generation",
		"statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index",
		"controller-uid", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-completion-index",
	}
}

// Of returns the class of a proxy.
func Of(n nodemeta.Node) Class {
	c := Class{
		Role: n.Role, Namespace: n.Namespace, DNSDomain: strings.TrimPrefix(n.DNSDomain, n.Namespace+"."),
		Labels: labels(n.Labels), NamedPorts: namedPorts(n.PodPorts), ServiceAccount: n.ServiceAccount,
		Locality: n.Locality, Interception: n.InterceptionMode, Unprivileged: n.Unprivileged, Names: n.AnswersDNS(),
	}
	ips := n.IPs
	if len(ips) == 0 {
		ips = []netip.Addr{n.IP}
	}
	for _, ip := range ips {
		if ip.Unmap().Is4() {
			c.Families |= IPv4
		} else if ip.IsValid() {
			c.Families |= IPv6
		}
	}
	return c
}

func labels(m map[string]string) string {
	skip := podLabels()
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(skip, k) {
			pairs = append(pairs, k+"="+m[k])
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

// namedPorts reads the JSON list of container ports that the webhook writes. What cannot
// be read names no port: a Service that targets one by name then has no inbound port here.
func namedPorts(text string) string {
	var ports []struct {
		Name          string `json:"name"`
		ContainerPort uint16 `json:"containerPort"`
		Protocol      string `json:"protocol"`
	}
	if json.Unmarshal([]byte(text), &ports) != nil {
		return ""
	}
	seen := map[string]bool{}
	var pairs []string
	for _, p := range ports {
		if p.Name == "" || p.Protocol == "UDP" || seen[p.Name] {
			continue
		}
		seen[p.Name] = true
		pairs = append(pairs, p.Name+"="+strconv.Itoa(int(p.ContainerPort)))
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

// LabelPairs returns the labels as sorted "k=v" pairs.
func (c Class) LabelPairs() []string {
	if c.Labels == "" {
		return nil
	}
	return strings.Split(c.Labels, ",")
}

// NamedPort returns the number of a container port, 0 if there is none of that name.
func (c Class) NamedPort(name string) uint16 {
	for pair := range strings.SplitSeq(c.NamedPorts, ",") {
		if n, found := strings.CutPrefix(pair, name+"="); found {
			port, err := strconv.ParseUint(n, 10, 16)
			if err != nil {
				return 0
			}
			return uint16(port)
		}
	}
	return 0
}
