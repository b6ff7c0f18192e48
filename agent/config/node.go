package config

import (
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	meshv1alpha1 "istio.io/api/mesh/v1alpha1"

	"github.com/sluicemesh/sluice/internal/nodemeta"
)

// loader gathers one Config.
type loader struct {
	env   *environment
	flags Flags
	src   Source
}

// read returns the content of a file that may be missing.
func (l *loader) read(path string) string {
	data, err := os.ReadFile(filepath.Join(l.src.Root, path))
	if err != nil && !os.IsNotExist(err) {
		l.env.fail("read %s: %w", path, err)
	}
	return string(data)
}

// downward reads a downward API file: lines of key="value" with Go quoting.
func (l *loader) downward(path string) map[string]string {
	out := map[string]string{}
	for line := range strings.SplitSeq(l.read(path), "\n") {
		k, quoted, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		v, err := strconv.Unquote(quoted)
		if err != nil {
			l.env.fail("%s: value of %q is not quoted", path, k)
			continue
		}
		out[k] = v
	}
	return out
}

// node describes the proxy to the control plane.
func (l *loader) node(role nodemeta.Role, pc *meshv1alpha1.ProxyConfig, annotations map[string]string) nodemeta.Node {
	meta, labels := l.env.metadata()
	maps.Copy(labels, l.downward("/etc/istio/pod/labels"))
	delete(labels, "pod-template-hash") // would make every ReplicaSet a class of its own
	n := nodemeta.Node{
		Role: role, Name: l.env.text("POD_NAME", ""), Namespace: l.env.text("POD_NAMESPACE", ""),
		IPs: l.addresses(annotations), Labels: labels, Annotations: annotations,
		ServiceAccount: l.env.text("SERVICE_ACCOUNT", ""), Store: true,
	}
	if n.Name == "" || n.Namespace == "" {
		l.env.fail("environment POD_NAME and POD_NAMESPACE: both must be set, they name the proxy")
	}
	n.IP = n.IPs[0]
	n.DNSDomain = l.flags.Domain
	if n.DNSDomain == "" {
		n.DNSDomain = n.Namespace + ".svc.cluster.local"
	}
	take(meta, map[string]*string{
		"WORKLOAD_NAME": &n.WorkloadName, "OWNER": &n.Owner, "CLUSTER_ID": &n.ClusterID, "NETWORK": &n.Network,
		"MESH_ID": &n.MeshID, "NODE_NAME": &n.NodeName, "INTERCEPTION_MODE": &n.InterceptionMode,
		"POD_PORTS": &n.PodPorts, "APP_CONTAINERS": &n.AppContainers,
		"ISTIO_VERSION": &n.Version, "ISTIO_REVISION": &n.Revision,
	})
	if n.Version == "" {
		n.Version = l.src.Version
	}
	n.Unprivileged = meta["UNPRIVILEGED_POD"] == "true"
	delete(meta, "UNPRIVILEGED_POD")
	if n.InterceptionMode == "" {
		n.InterceptionMode = pc.GetInterceptionMode().String()
	}
	if text, err := protojson.Marshal(pc); err == nil {
		n.ProxyConfig = compactJSON(text)
	}
	n.Cluster = serviceCluster(l.flags, pc, n)
	n.Locality = locality(labels)
	n.Extra = meta
	return n
}

// take moves the values of known keys out of meta.
func take(meta map[string]string, known map[string]*string) {
	for k, dst := range known {
		*dst = meta[k]
		delete(meta, k)
	}
}

// addresses lists the pod's addresses, the one of INSTANCE_IP first. A pod without any
// has only its loopback addresses.
func (l *loader) addresses(annotations map[string]string) []netip.Addr {
	var out []netip.Addr
	if text := l.env.text("INSTANCE_IP", ""); text != "" {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			l.env.fail("environment INSTANCE_IP: %q is not an IP address", text)
		} else {
			out = append(out, ip)
		}
	}
	var excluded []string
	for name := range strings.SplitSeq(annotations["traffic.sidecar.istio.io/excludeInterfaces"], ",") {
		excluded = append(excluded, strings.TrimSpace(name))
	}
	for _, nic := range l.src.Interfaces {
		if slices.Contains(excluded, nic.Name) {
			continue
		}
		for _, ip := range nic.Addrs {
			if ip = ip.Unmap(); ip.IsGlobalUnicast() && !slices.Contains(out, ip) {
				out = append(out, ip)
			}
		}
	}
	if len(out) == 0 {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	return out
}

// serviceCluster is Envoy's --service-cluster: the name given, or "<app>.<namespace>".
func serviceCluster(f Flags, pc *meshv1alpha1.ProxyConfig, n nodemeta.Node) string {
	if c := f.ServiceCluster; c != "" && c != "istio-proxy" {
		return c
	}
	if c := pc.GetServiceCluster(); c != "" && c != "istio-proxy" {
		return c
	}
	canonical := n.Labels["service.istio.io/canonical-name"]
	switch pc.GetTracingServiceName() {
	case meshv1alpha1.ProxyConfig_CANONICAL_NAME_ONLY:
		return canonical
	case meshv1alpha1.ProxyConfig_CANONICAL_NAME_AND_NAMESPACE:
		return canonical + "." + n.Namespace
	}
	for _, name := range []string{n.Labels["app"], n.WorkloadName} {
		if name != "" {
			return name + "." + n.Namespace
		}
	}
	return "istio-proxy." + n.Namespace
}

// locality reads region/zone/sub-zone from the pod's labels; a label value cannot hold
// slashes, so dots separate as well. The control plane falls back to the node's labels.
func locality(labels map[string]string) nodemeta.Locality {
	text := labels["topology.istio.io/locality"]
	if text == "" {
		text = labels["istio-locality"]
	}
	if !strings.Contains(text, "/") {
		text = strings.ReplaceAll(text, ".", "/")
	}
	parts := append(strings.SplitN(text, "/", 3), "", "", "")
	return nodemeta.Locality{Region: parts[0], Zone: parts[1], SubZone: parts[2]}
}
