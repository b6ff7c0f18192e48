package compile_test

import (
	"fmt"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"

	"github.com/sluicemesh/sluice/internal/nodemeta"
	"github.com/sluicemesh/sluice/internal/routetable"
	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy"
)

// snapshot is a decoded view of what one class has.
type snapshot struct {
	clusters  map[string]*clusterv3.Cluster
	endpoints map[string]*endpointv3.ClusterLoadAssignment
	listeners map[string]*listenerv3.Listener
	tables    map[string]*routev3.RouteConfiguration
	hosts     map[string][]*routev3.VirtualHost
}

func decode[M proto.Message](t *testing.T, r *envoy.Resource, m M) M {
	t.Helper()
	if err := proto.Unmarshal(r.Body, m); err != nil {
		t.Fatal(err)
	}
	return m
}

func newSnapshot(t *testing.T, c class.Class, has map[envoy.Name]*envoy.Resource) snapshot {
	t.Helper()
	s := snapshot{
		map[string]*clusterv3.Cluster{}, map[string]*endpointv3.ClusterLoadAssignment{}, map[string]*listenerv3.Listener{},
		map[string]*routev3.RouteConfiguration{}, map[string][]*routev3.VirtualHost{},
	}
	for n, r := range has {
		inner := n.Name
		switch n.TypeURL {
		case envoy.ClusterType:
			s.clusters[n.Name] = decode(t, r, &clusterv3.Cluster{})
			inner = s.clusters[n.Name].Name
		case envoy.EndpointType:
			s.endpoints[n.Name] = decode(t, r, &endpointv3.ClusterLoadAssignment{})
			inner = s.endpoints[n.Name].ClusterName
		case envoy.ListenerType:
			s.listeners[n.Name] = decode(t, r, &listenerv3.Listener{})
			inner = s.listeners[n.Name].Name
		case envoy.RouteType:
			s.tables[n.Name] = decode(t, r, &routev3.RouteConfiguration{})
			inner = s.tables[n.Name].Name
		case envoy.VirtualHostType:
			table, name, ok := routetable.SplitHostName(n.Name)
			vh := decode(t, r, &routev3.VirtualHost{})
			s.hosts[table] = append(s.hosts[table], vh)
			if inner = table + "/" + vh.Name; !ok || name != vh.Name {
				t.Fatalf("virtual host %s is named %s", n.Name, vh.Name)
			}
		}
		if n.TypeURL == envoy.NameTableType && !c.Names {
			t.Fatalf("names of %s for a class that answers no queries", n.Name)
		}
		if inner != n.Name || r.Name != n.Name {
			t.Fatalf("resource %s holds %s", n.Name, inner)
		}
	}
	return s
}

// checkSnapshot checks what must hold of everything a proxy is sent.
func checkSnapshot(t *testing.T, at string, c class.Class, has map[envoy.Name]*envoy.Resource) {
	t.Helper()
	s := newSnapshot(t, c, has)
	fail := func(format string, args ...any) {
		t.Helper()
		t.Fatalf("%s: class %+v: %s", at, c, fmt.Sprintf(format, args...))
	}
	for name, cl := range s.clusters {
		if _, ok := s.endpoints[name]; (cl.GetType() == clusterv3.Cluster_EDS) != ok {
			fail("cluster %s of type %v, assignment %v", name, cl.GetType(), ok)
		}
	}
	for name := range s.endpoints {
		if s.clusters[name] == nil {
			fail("assignment %s without cluster", name)
		}
	}
	for table, hosts := range s.hosts {
		domains := map[string]string{}
		for _, h := range hosts {
			if len(h.Domains) == 0 {
				fail("%s: host %s has no domain", table, h.Name)
			}
			for _, d := range h.Domains {
				if other, taken := domains[strings.ToLower(d)]; taken {
					fail("table %s: domain %s of %s belongs to %s", table, d, h.Name, other)
				}
				domains[strings.ToLower(d)] = h.Name
			}
		}
	}
	routes := map[string]bool{}
	addresses := map[string]string{}
	for name, l := range s.listeners {
		checkListener(fail, s, l, routes)
		if a := address(l.Address); addresses[a] != "" {
			fail("listeners %s and %s have address %s", name, addresses[a], a)
		} else {
			addresses[a] = name
		}
	}
	for table := range s.tables {
		// A service whose address another holds, or that has no endpoint to listen for, keeps
		// its own table unused.
		if !routes[table] && !strings.Contains(table, ":") {
			fail("no listener uses table %s", table)
		}
		if len(s.hosts[table]) == 0 {
			fail("table %s has no virtual host", table)
		}
	}
	if c.Role == nodemeta.Sidecar && c.Interception != "NONE" {
		for _, name := range []string{"virtualOutbound", "virtualInbound"} {
			if s.listeners[name] == nil {
				fail("no listener %s", name)
			}
		}
	} else if s.listeners["virtualOutbound"] != nil || s.listeners["virtualInbound"] != nil {
		fail("a virtual listener where nothing is intercepted")
	}
}

func address(a *corev3.Address) string {
	return fmt.Sprintf("%s:%d", a.GetSocketAddress().GetAddress(), a.GetSocketAddress().GetPortValue())
}

func checkListener(fail func(string, ...any), s snapshot, l *listenerv3.Listener, routes map[string]bool) {
	matches := map[string]bool{}
	chains := l.FilterChains
	for _, chain := range chains {
		m, _ := proto.MarshalOptions{Deterministic: true}.Marshal(chain.FilterChainMatch)
		if matches[string(m)] {
			fail("listener %s has two chains for %v", l.Name, chain.FilterChainMatch)
		}
		matches[string(m)] = true
	}
	if l.DefaultFilterChain != nil {
		chains = append(chains, l.DefaultFilterChain)
	}
	for _, chain := range chains {
		for _, f := range chain.Filters {
			h := &hcmv3.HttpConnectionManager{}
			if f.GetTypedConfig().UnmarshalTo(h) != nil || h.GetRds() == nil {
				continue
			}
			table := h.GetRds().RouteConfigName
			routes[table] = true
			if s.tables[table] == nil {
				fail("listener %s: no table %s", l.Name, table)
			}
		}
	}
}
