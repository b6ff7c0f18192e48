// Package nodemeta is the contract between the agent, which describes its proxy in the
// Envoy node of the bootstrap, and the control plane, which reads it from the first
// message of a stream.
//
// Names and encodings are Istio's (booleans are the strings "true" and "false", lists are
// joined by commas), so that either end may be somebody else's. The package is pure.
package nodemeta

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// Role is the first part of a node ID.
type Role string

// The roles a proxy may have.
const (
	Sidecar Role = "sidecar"
	Router  Role = "router"
)

// Interception modes as in the metadata key INTERCEPTION_MODE are capture.Mode's strings.

// Node describes one proxy.
type Node struct {
	Role      Role
	IP        netip.Addr // primary address, the second part of the ID
	Name      string     // pod name
	Namespace string
	DNSDomain string // "<namespace>.svc.cluster.local"
	Cluster   string // Envoy's service cluster, "<app>.<namespace>"
	Locality  Locality

	IPs              []netip.Addr // INSTANCE_IPS, primary first
	Labels           map[string]string
	Annotations      map[string]string
	ServiceAccount   string
	WorkloadName     string
	Owner            string // kubernetes://apis/apps/v1/namespaces/ns/deployments/x
	ClusterID        string
	Network          string
	MeshID           string
	NodeName         string
	Version          string // ISTIO_VERSION
	Revision         string // ISTIO_REVISION
	InterceptionMode string
	PodPorts         string // POD_PORTS, JSON list as injected
	AppContainers    string
	// ProxyConfig is the effective ProxyConfig as JSON, empty if unknown.
	ProxyConfig string
	// Unprivileged says that the proxy cannot bind ports below 1024.
	Unprivileged bool
	// Store says that the client is a Sluice agent with a store of its own: it subscribes
	// to every type by wildcard and takes virtual hosts one by one (VirtualHostType),
	// beside route tables that come without hosts.
	Store bool

	// EnvoyVersion is "major.minor.patch" of user_agent_build_version; read only, Envoy sets it.
	EnvoyVersion string
	// Extra are further metadata keys (ISTIO_META_* of the user), string values.
	Extra map[string]string
}

// Locality is a place: region, zone and sub-zone, each possibly empty.
type Locality struct{ Region, Zone, SubZone string }

// VirtualHostType is the type URL under which a store-keeping agent gets virtual hosts,
// named "<route table>/<virtual host>".
const VirtualHostType = "type.googleapis.com/envoy.config.route.v3.VirtualHost"

// ID is the node ID, "<role>~<ip>~<pod>.<namespace>~<dns domain>".
func (n Node) ID() string {
	return string(n.Role) + "~" + n.IP.String() + "~" + n.Name + "." + n.Namespace + "~" + n.DNSDomain
}

// AnswersDNS reports whether the agent answers DNS queries: those of the pod, which are
// redirected to it, or for a gateway those of others.
func (n Node) AnswersDNS() bool {
	captured, _ := strconv.ParseBool(n.Extra["DNS_CAPTURE"]) // what is no boolean is false
	asked, _ := strconv.ParseBool(n.Extra["ENABLE_DNS_SERVER"])
	return captured && n.Role == Sidecar || asked
}

// Proto is the Envoy node that the bootstrap carries. The result is new.
func (n Node) Proto() *corev3.Node {
	fields := map[string]*structpb.Value{}
	for _, s := range n.stringFields() {
		if *s.value != "" {
			fields[s.key] = structpb.NewStringValue(*s.value)
		}
	}
	if len(n.IPs) > 0 {
		words := make([]string, len(n.IPs))
		for i, ip := range n.IPs {
			words[i] = ip.String()
		}
		fields["INSTANCE_IPS"] = structpb.NewStringValue(strings.Join(words, ","))
	}
	if len(n.Labels) > 0 {
		fields["LABELS"] = stringMap(n.Labels)
	}
	if len(n.Annotations) > 0 {
		fields["ANNOTATIONS"] = stringMap(n.Annotations)
	}
	if n.Unprivileged {
		fields["UNPRIVILEGED_POD"] = structpb.NewStringValue("true")
	}
	if n.Store {
		fields["SLUICE_STORE"] = structpb.NewStringValue("true")
	}
	if n.ProxyConfig != "" {
		fields["PROXY_CONFIG"] = structpb.NewStringValue(n.ProxyConfig)
	}
	for k, v := range n.Extra {
		if _, known := fields[k]; !known {
			fields[k] = structpb.NewStringValue(v)
		}
	}
	out := &corev3.Node{Id: n.ID(), Cluster: n.Cluster, Metadata: &structpb.Struct{Fields: fields}}
	if n.Locality != (Locality{}) {
		out.Locality = &corev3.Locality{Region: n.Locality.Region, Zone: n.Locality.Zone, SubZone: n.Locality.SubZone}
	}
	return out
}

// FromProto reads the node of a stream's first message. The error says which part of the
// ID is wrong; unknown metadata keys with string values go to Extra.
func FromProto(p *corev3.Node) (Node, error) {
	parts := strings.Split(p.GetId(), "~")
	if len(parts) != 4 {
		return Node{}, fmt.Errorf("node id %q: want <type>~<ip>~<pod>.<namespace>~<dns domain>", p.GetId())
	}
	role := Role(parts[0])
	if role != Sidecar && role != Router {
		return Node{}, fmt.Errorf("node id %q: type %q is neither sidecar nor router", p.GetId(), parts[0])
	}
	ip, err := netip.ParseAddr(parts[1])
	if err != nil {
		return Node{}, fmt.Errorf("node id %q: %q is not an IP address", p.GetId(), parts[1])
	}
	dot := strings.LastIndexByte(parts[2], '.')
	if dot <= 0 || dot == len(parts[2])-1 {
		return Node{}, fmt.Errorf("node id %q: %q is not <pod>.<namespace>", p.GetId(), parts[2])
	}
	n := Node{
		Role: role, IP: ip, Name: parts[2][:dot], Namespace: parts[2][dot+1:],
		DNSDomain: parts[3], Cluster: p.GetCluster(),
		Locality: Locality{p.GetLocality().GetRegion(), p.GetLocality().GetZone(), p.GetLocality().GetSubZone()},
	}
	if err := n.readMetadata(p.GetMetadata().GetFields()); err != nil {
		return Node{}, fmt.Errorf("node id %q: %w", p.GetId(), err)
	}
	if v := p.GetUserAgentBuildVersion().GetVersion(); v != nil {
		n.EnvoyVersion = fmt.Sprintf("%d.%d.%d", v.GetMajorNumber(), v.GetMinorNumber(), v.GetPatch())
	}
	return n, nil
}

// stringField binds one metadata key to one string of Node, for both directions.
type stringField struct {
	key   string
	value *string
}

func (n *Node) stringFields() []stringField {
	return []stringField{
		{"NAME", &n.Name}, {"NAMESPACE", &n.Namespace},
		{"SERVICE_ACCOUNT", &n.ServiceAccount}, {"WORKLOAD_NAME", &n.WorkloadName}, {"OWNER", &n.Owner},
		{"CLUSTER_ID", &n.ClusterID}, {"NETWORK", &n.Network}, {"MESH_ID", &n.MeshID},
		{"NODE_NAME", &n.NodeName}, {"ISTIO_VERSION", &n.Version}, {"ISTIO_REVISION", &n.Revision},
		{"INTERCEPTION_MODE", &n.InterceptionMode}, {"POD_PORTS", &n.PodPorts},
		{"APP_CONTAINERS", &n.AppContainers},
	}
}

// readMetadata fills n from the metadata fields and checks what must parse.
func (n *Node) readMetadata(fields map[string]*structpb.Value) error {
	known := map[string]*string{}
	for _, s := range n.stringFields() {
		known[s.key] = s.value
	}
	for key, v := range fields {
		text := v.GetStringValue()
		if dst, ok := known[key]; ok {
			*dst = text
			continue
		}
		switch key {
		case "INSTANCE_IPS":
			ips, err := parseIPs(text)
			if err != nil {
				return err
			}
			n.IPs = ips
		case "LABELS":
			n.Labels = fromStringMap(v)
		case "ANNOTATIONS":
			n.Annotations = fromStringMap(v)
		case "UNPRIVILEGED_POD":
			n.Unprivileged = text == "true"
		case "SLUICE_STORE":
			n.Store = text == "true"
		case "PROXY_CONFIG":
			n.ProxyConfig = proxyConfigText(v)
		default:
			if _, isString := v.GetKind().(*structpb.Value_StringValue); isString {
				if n.Extra == nil {
					n.Extra = map[string]string{}
				}
				n.Extra[key] = text
			}
		}
	}
	return nil
}

// proxyConfigText accepts both a JSON string (ours) and a struct (Istio's).
func proxyConfigText(v *structpb.Value) string {
	if s, ok := v.GetKind().(*structpb.Value_StringValue); ok {
		return s.StringValue
	}
	text, err := v.MarshalJSON()
	if err != nil {
		return ""
	}
	return string(text)
}

func parseIPs(text string) ([]netip.Addr, error) {
	var out []netip.Addr
	for word := range strings.SplitSeq(text, ",") {
		if word == "" {
			continue
		}
		ip, err := netip.ParseAddr(word)
		if err != nil {
			return nil, fmt.Errorf("metadata INSTANCE_IPS: %q is not an IP address", word)
		}
		out = append(out, ip)
	}
	return out, nil
}

func stringMap(m map[string]string) *structpb.Value {
	fields := make(map[string]*structpb.Value, len(m))
	for k, v := range m {
		fields[k] = structpb.NewStringValue(v)
	}
	return structpb.NewStructValue(&structpb.Struct{Fields: fields})
}

func fromStringMap(v *structpb.Value) map[string]string {
	fields := v.GetStructValue().GetFields()
	out := make(map[string]string, len(fields))
	for k, f := range fields {
		out[k] = f.GetStringValue()
	}
	return out
}
