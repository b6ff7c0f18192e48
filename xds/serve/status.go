package serve

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicemesh/sluice/xds/envoy"
)

// TypeStatus is how far a proxy is with one type.
type TypeStatus string

// The states, in Istio's words.
const (
	NotSent  TypeStatus = "NOT SENT"
	Synced   TypeStatus = "SYNCED"
	Stale    TypeStatus = "STALE"
	Rejected TypeStatus = "ERROR"
)

// ProxyStatus describes one connected proxy.
type ProxyStatus struct {
	ID        string // node ID
	Name      string // pod.namespace
	ClusterID string
	Version   string // of the agent
	Envoy     string
	Connected time.Time
	Identity  string                 // proven SPIFFE ID, empty on the plaintext address
	Types     map[string]TypeStatus  // by short type name, "CDS"
	Rejected  map[string][]Rejection // by short type name; only types in state Rejected
}

// Status lists the connected proxies, sorted by name.
func (s *Server) Status() []ProxyStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]ProxyStatus, 0, len(s.conns))
	for c := range s.conns {
		if c.attached {
			out = append(out, c.status())
		}
	}
	slices.SortFunc(out, func(a, b ProxyStatus) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	return out
}

func (c *conn) status() ProxyStatus {
	p := ProxyStatus{
		ID: c.node.ID(), Name: c.node.Name + "." + c.node.Namespace, ClusterID: c.node.ClusterID,
		Version: c.node.Version, Envoy: c.node.EnvoyVersion, Connected: c.connected,
		Types: map[string]TypeStatus{}, Rejected: map[string][]Rejection{},
	}
	if c.identity != nil {
		p.Identity = c.identity.String()
	}
	for _, typeURL := range pushOrder {
		name := short(typeURL)
		t := c.types[typeURL]
		switch {
		case t == nil || t.record.sentNonce == "":
			p.Types[name] = NotSent
		case len(t.record.rejected) > 0:
			p.Types[name] = Rejected
			p.Rejected[name] = slices.Clone(t.record.rejected)
		case t.record.sentNonce == t.record.ackedNonce:
			p.Types[name] = Synced
		default:
			p.Types[name] = Stale
		}
	}
	return p
}

// Resources returns what a connected proxy's class has of one type, by name; false if no
// such proxy is connected. The bodies are shared and must not be modified.
func (s *Server) Resources(id, typeURL string) (map[string][]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if !c.attached || (c.node.ID() != id && c.node.Name+"."+c.node.Namespace != id) {
			continue
		}
		out := map[string][]byte{}
		for name, r := range s.classes[c.class].of(typeURL).resources {
			out[name] = r.Resource.Value
		}
		return out, true
	}
	return nil, false
}

// short is the usual abbreviation of a type.
func short(typeURL string) string {
	switch typeURL {
	case envoy.ClusterType:
		return "CDS"
	case envoy.EndpointType:
		return "EDS"
	case envoy.ListenerType:
		return "LDS"
	case envoy.RouteType:
		return "RDS"
	case envoy.VirtualHostType:
		return "VHDS"
	case envoy.NameTableType:
		return "NDS"
	}
	return typeURL
}

// Metrics are the server's metrics, under Istio's names.
type Metrics struct {
	connected    prometheus.Gauge
	authFailures prometheus.Counter
	pushes       *prometheus.CounterVec
	rejects      prometheus.Counter
	typeRejects  *prometheus.CounterVec
	convergence  *prometheus.HistogramVec
}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		connected:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "pilot_xds", Help: "Connected proxies."}),
		authFailures: prometheus.NewCounter(prometheus.CounterOpts{Name: "pilot_xds_auth_failures_total", Help: "Streams refused for want of an identity."}),
		pushes:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pilot_xds_pushes", Help: "Answers sent to proxies."}, []string{"type"}),
		rejects:      prometheus.NewCounter(prometheus.CounterOpts{Name: "pilot_total_xds_rejects", Help: "Answers that a proxy rejected."}),
		typeRejects:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pilot_xds_rejects", Help: "Answers that a proxy rejected, by type."}, []string{"type"}),
		convergence: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pilot_proxy_convergence_time", Help: "Seconds from sending an answer to its acknowledgement.",
			Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 30},
		}, []string{"type"}),
	}
	reg.MustRegister(m.connected, m.authFailures, m.pushes, m.rejects, m.typeRejects, m.convergence)
	return m
}

func (m *Metrics) rejected(typeURL string) {
	m.rejects.Inc()
	m.typeRejects.WithLabelValues(short(typeURL)).Inc()
}
