package node

import (
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sluicemesh/sluice/initcontainer/cni/install"
	"github.com/sluicemesh/sluice/initcontainer/cni/repair"
)

// metrics count what happened on the node, under Istio's names.
type metrics struct {
	registry *prometheus.Registry
	installs *prometheus.CounterVec
	repairs  *prometheus.CounterVec
	gauge    prometheus.Gauge
	ready    atomic.Bool
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		installs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "istio_cni_installs_total", Help: "Installations of the plug-in on this node, by result.",
		}, []string{"result"}),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "istio_cni_repair_pods_repaired_total", Help: "Pods without interception rules that were acted on.",
		}, []string{"type", "result"}),
		gauge: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "istio_cni_install_ready", Help: "Whether the plug-in is installed on this node, 1 or 0.",
		}),
	}
	m.registry.MustRegister(m.installs, m.repairs, m.gauge)
	return m
}

func (m *metrics) installed(r install.Result, _ error) { m.installs.WithLabelValues(string(r)).Inc() }

func (m *metrics) setReady(ready bool) {
	m.ready.Store(ready)
	value := 0.0
	if ready {
		value = 1
	}
	m.gauge.Set(value)
}

func (m *metrics) repaired(mode repair.Mode, ok bool) {
	result := map[bool]string{true: "success", false: "fail"}[ok]
	m.repairs.WithLabelValues(string(mode), result).Inc()
}

// handler serves the metrics.
func (m *metrics) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	return mux
}

// readiness answers the kubelet: 200 while the plug-in is installed.
func (m *metrics) readiness() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !m.ready.Load() {
			http.Error(w, "the plug-in is not installed yet", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(strconv.FormatBool(true))) // the kubelet looks at the status only
	})
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	return mux
}
