// Package metrics holds the agent's own metrics and merges them with those of Envoy and
// of the application into one page.
//
// Names are Istio's (istio_agent_…). Merging streams bodies through and keeps none of them
// when there is a single application page.
package metrics

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"github.com/sluicemesh/sluice/internal/identity"
)

// Set is the agent's metrics. All are safe for concurrent use.
type Set struct {
	registry *prometheus.Registry

	ConnectionFailures   prometheus.Counter
	UpstreamTerminations *prometheus.CounterVec // type
	EnvoyTerminations    *prometheus.CounterVec // type
	Requests, Responses  prometheus.Counter
	Rejections           *prometheus.CounterVec // type_url
	StartupSeconds       prometheus.Gauge
	Scrapes              prometheus.Counter
	ScrapeFailures       *prometheus.CounterVec // type
	CertNotAfter         atomic.Int64           // Unix time; 0: no certificate yet
	OutgoingRequests     *prometheus.CounterVec // request_type
	FailedRequests       *prometheus.CounterVec // request_type
	DNS                  *DNS                   // nil: no queries are answered
}

// DNS counts the pod's queries.
type DNS struct {
	Requests, UpstreamRequests, UpstreamFailures prometheus.Counter
	UpstreamDuration                             prometheus.Histogram // seconds
}

// New returns a new set with a registry of its own.
func New() *Set {
	reg := prometheus.NewRegistry()
	own := prometheus.WrapRegistererWithPrefix("istio_agent_", reg)
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		own.MustRegister(c)
		return c
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
		own.MustRegister(c)
		return c
	}
	s := &Set{
		registry:             reg,
		ConnectionFailures:   counter("istiod_connection_failures", "The total number of connection failures to the control plane."),
		UpstreamTerminations: vector("istiod_connection_terminations", "The total number of streams to the control plane that ended.", "type"),
		EnvoyTerminations:    vector("envoy_connection_terminations", "The total number of streams from Envoy that ended.", "type"),
		Requests:             counter("xds_proxy_requests", "The total number of xDS requests sent to the control plane."),
		Responses:            counter("xds_proxy_responses", "The total number of xDS responses of the control plane."),
		Rejections:           vector("xds_proxy_rejects", "The total number of responses that Envoy rejected.", "type_url"),
		Scrapes:              counter("scrapes_total", "The total number of scrapes."),
		ScrapeFailures:       vector("scrape_failures_total", "The total number of failed scrapes.", "type"),
		OutgoingRequests:     vector("num_outgoing_requests", "Number of outgoing requests to the certificate authority.", "request_type"),
		FailedRequests:       vector("num_failed_outgoing_requests", "Number of failed outgoing requests.", "request_type"),
		StartupSeconds:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "startup_duration_seconds", Help: "The time from the agent's start until it was first ready, in seconds."}),
	}
	own.MustRegister(s.StartupSeconds, s.certExpiry(),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return s
}

// CountDNS adds the metrics of DNS. It is called once at most, before the first Write.
func (s *Set) CountDNS() {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	s.DNS = &DNS{
		Requests:         counter("dns_requests_total", "Total number of DNS queries that came."),
		UpstreamRequests: counter("dns_upstream_requests_total", "Total number of DNS queries that were passed on to name servers."),
		UpstreamFailures: counter("dns_upstream_failures_total", "Total number of times that a name server did not answer, or not usably."),
		UpstreamDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "dns_upstream_request_duration_seconds", Help: "Time until a DNS query that was passed on was answered or given up, in seconds.",
			Buckets: []float64{0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5},
		}),
	}
	prometheus.WrapRegistererWithPrefix("istio_agent_", s.registry).
		MustRegister(s.DNS.Requests, s.DNS.UpstreamRequests, s.DNS.UpstreamFailures, s.DNS.UpstreamDuration)
}

// certExpiry is the time that the certificate has left when it is scraped.
func (s *Set) certExpiry() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "cert_expiry_seconds", Help: "The time until the certificate expires, in seconds; negative if it has.",
		ConstLabels: prometheus.Labels{"resource_name": identity.WorkloadSecret},
	}, func() float64 { return time.Until(time.Unix(s.CertNotAfter.Load(), 0)).Seconds() })
}

// Write writes all metrics in the text format 0.0.4.
func (s *Set) Write(w io.Writer) error {
	families, err := s.registry.Gather()
	if err != nil {
		return fmt.Errorf("gather metrics: %w", err)
	}
	enc := expfmt.NewEncoder(w, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			return fmt.Errorf("write metrics: %w", err)
		}
	}
	return nil
}
