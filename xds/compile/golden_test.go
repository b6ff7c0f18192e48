package compile_test

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/internal/golden"
	"github.com/sluicemesh/sluice/internal/nametable"
	"github.com/sluicemesh/sluice/internal/nodemeta"
	"github.com/sluicemesh/sluice/xds/api"
	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/compile"
	"github.com/sluicemesh/sluice/xds/envoy"
	"github.com/sluicemesh/sluice/xds/ir"
)

// scene is the first document of an input: the proxies that look at the objects below.
type scene struct {
	RegistryOnly bool
	Show         []string // names of resources whose bodies are shown whole
	Proxies      []struct {
		Name, Role, Namespace, Labels, NamedPorts, Interception string
		Unprivileged, Names                                     bool
	}
}

// TestScenes compiles the objects of testdata/*.in.yaml and compares what each proxy gets:
// a line per cluster and listener chain, the endpoints, and the route tables.
func TestScenes(t *testing.T) {
	golden.Run(t, "testdata", "yaml", "txt", func(t *testing.T, in []byte) []byte {
		docs := bytes.Split(in, []byte("\n---\n"))
		var sc scene
		if err := yaml.UnmarshalStrict(docs[0], &sc); err != nil {
			t.Fatal(err)
		}
		mesh := testMesh()
		if sc.RegistryOnly {
			mesh.Outbound = ir.RegistryOnly
		}
		g := compile.New(compile.Config{Mesh: mesh, OnPanic: failOnPanic(t)})
		for _, d := range docs[1:] {
			g.Apply([]compile.Edit{parse(t, d)})
		}
		for _, p := range sc.Proxies {
			g.Connect(class.Class{
				Role: nodemeta.Role(p.Role), Namespace: p.Namespace, DNSDomain: "svc.cluster.local", Labels: p.Labels, NamedPorts: p.NamedPorts,
				ServiceAccount: "default", Families: class.IPv4, Interception: p.Interception, Unprivileged: p.Unprivileged, Names: p.Names,
			})
		}
		var out bytes.Buffer
		for i, u := range g.Turn() {
			fmt.Fprintf(&out, "== %s ==\n", sc.Proxies[i].Name)
			has := map[envoy.Name]*envoy.Resource{}
			for _, r := range u.Changed {
				has[envoy.Name{TypeURL: r.TypeURL, Name: r.Name}] = r
			}
			checkSnapshot(t, "golden", u.Class, has)
			for _, r := range u.Changed {
				show(t, &out, r, slices.Contains(sc.Show, r.Name))
			}
		}
		problems, _ := g.Problems()
		for _, p := range problems {
			fmt.Fprintln(&out, "PROBLEM", p)
		}
		return out.Bytes()
	})
}

func parse(t *testing.T, doc []byte) compile.Edit {
	t.Helper()
	var head struct{ Kind string }
	if err := yaml.Unmarshal(doc, &head); err != nil {
		t.Fatal(err)
	}
	for _, k := range api.All() {
		if k.GVK.Kind == head.Kind {
			o := k.New()
			if err := yaml.UnmarshalStrict(doc, o); err != nil {
				t.Fatal(err)
			}
			return compile.Edit{Kind: head.Kind, Namespace: o.GetNamespace(), Name: o.GetName(), Object: o}
		}
	}
	t.Fatalf("unknown kind %q", head.Kind)
	return compile.Edit{}
}

func show(t *testing.T, out *bytes.Buffer, r *envoy.Resource, whole bool) {
	t.Helper()
	short := strings.TrimPrefix(r.TypeURL[strings.LastIndexByte(r.TypeURL, '.')+1:], "ClusterLoad")
	from := make([]string, len(r.From))
	for i, o := range r.From {
		from[i] = o.String()
	}
	fmt.Fprintf(out, "%s %s\n", short, r.Name)
	if len(from) > 0 {
		fmt.Fprintf(out, "  # from %s\n", strings.Join(from, ", "))
	}
	switch {
	case whole:
	case r.TypeURL == envoy.ClusterType:
		showCluster(out, decode(t, r, &clusterv3.Cluster{}))
		return
	case r.TypeURL == envoy.ListenerType:
		showListener(out, decode(t, r, &listenerv3.Listener{}))
		return
	case r.TypeURL == envoy.RouteType:
		return
	case r.TypeURL == envoy.NameTableType:
		showNames(t, out, r)
		return
	}
	name := protoreflect.FullName(strings.TrimPrefix(r.TypeURL, "type.googleapis.com/"))
	mt, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil {
		t.Fatal(err)
	}
	text, err := protojson.Marshal(decode(t, r, mt.New().Interface()))
	if err != nil {
		t.Fatal(err)
	}
	body, err := yaml.JSONToYAML(text)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		out.WriteString("  " + line)
	}
}

func showNames(t *testing.T, out *bytes.Buffer, r *envoy.Resource) {
	t.Helper()
	entries, err := nametable.Parse(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		fmt.Fprintf(out, "  %s %v %s %s/%s\n", e.Host, e.Addresses, e.Registry, e.Namespace, e.ShortName)
	}
}

func showCluster(out *bytes.Buffer, c *clusterv3.Cluster) {
	tls := "plain"
	if c.TransportSocket != nil {
		tls = c.TransportSocket.Name
	}
	for _, m := range c.TransportSocketMatches {
		tls += " or " + m.Name
	}
	kind := c.GetType().String()
	if c.GetClusterType() != nil {
		kind = c.GetClusterType().Name
	}
	fmt.Fprintf(out, "  %s %v %s\n", kind, c.LbPolicy, tls)
}

func showListener(out *bytes.Buffer, l *listenerv3.Listener) {
	fmt.Fprintf(out, "  at %s bound=%v\n", address(l.Address), l.GetBindToPort().GetValue() || l.BindToPort == nil)
	for _, c := range l.FilterChains {
		m := c.FilterChainMatch
		var words []string
		if p := m.GetDestinationPort().GetValue(); p != 0 {
			words = append(words, fmt.Sprint("port ", p))
		}
		for _, p := range m.GetPrefixRanges() {
			words = append(words, fmt.Sprintf("to %s/%d", p.AddressPrefix, p.GetPrefixLen().GetValue()))
		}
		if len(m.GetServerNames()) > 0 {
			words = append(words, "SNI "+strings.Join(m.ServerNames, ","))
		}
		if m.GetTransportProtocol() != "" {
			words = append(words, m.TransportProtocol)
		}
		sort.Strings(m.GetApplicationProtocols())
		words = append(words, m.GetApplicationProtocols()...)
		fmt.Fprintf(out, "  [%s] %s\n", strings.Join(words, " "), destination(c))
	}
	if l.DefaultFilterChain != nil {
		fmt.Fprintf(out, "  [default] %s\n", destination(l.DefaultFilterChain))
	}
}

// destination says where a chain leads.
func destination(c *listenerv3.FilterChain) string {
	tls := ""
	if c.TransportSocket != nil {
		tls = "mTLS, "
	}
	for _, f := range c.Filters {
		h, p := &hcmv3.HttpConnectionManager{}, &tcpv3.TcpProxy{}
		switch {
		case unpack(f, h) && h.GetRds() != nil:
			return tls + "route " + h.GetRds().RouteConfigName
		case unpack(f, h):
			return tls + "inline route " + h.GetRouteConfig().GetName()
		case unpack(f, p) && p.GetWeightedClusters() != nil:
			var names []string
			for _, w := range p.GetWeightedClusters().Clusters {
				names = append(names, fmt.Sprintf("%s×%d", w.Name, w.Weight))
			}
			return tls + strings.Join(names, " ")
		case unpack(f, p):
			return tls + p.GetCluster()
		}
	}
	return "nothing"
}

func unpack(f *listenerv3.Filter, m proto.Message) bool {
	return f.GetTypedConfig().MessageIs(m) && f.GetTypedConfig().UnmarshalTo(m) == nil
}
