package webhook

import "github.com/prometheus/client_golang/prometheus"

// injectionMetrics counts injections under the names that Istio's users know. Unlike
// there, a refusal does not count as a success.
type injectionMetrics struct {
	requests prometheus.Counter
	success  *prometheus.CounterVec // by reason
	failure  *prometheus.CounterVec // by reason
	skip     *prometheus.CounterVec // by reason
	seconds  prometheus.Histogram
	config   *prometheus.CounterVec // by result, "loaded" or "rejected"
}

// newMetrics makes the metrics and registers them.
func newMetrics(registry prometheus.Registerer) (*injectionMetrics, error) {
	m := &injectionMetrics{
		requests: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sidecar_injection_requests_total", Help: "Admission reviews received.",
		}),
		success: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sidecar_injection_success_total", Help: "Pods injected, by reason.",
		}, []string{"reason"}),
		failure: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sidecar_injection_failure_total", Help: "Reviews refused or not understood, by reason.",
		}, []string{"reason"}),
		skip: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sidecar_injection_skip_total", Help: "Pods left alone, by reason.",
		}, []string{"reason"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sidecar_injection_time_seconds", Help: "Time from request to answer.",
			// Istio's buckets start at 0.1 s, where an injection of ours never gets.
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .05, .1, 1, 3, 5, 10, 20, 30, 60},
		}),
		config: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sidecar_injection_config_loads_total", Help: "Configurations read, by result.",
		}, []string{"result"}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.success, m.failure, m.skip, m.seconds, m.config} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
