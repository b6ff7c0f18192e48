package params

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/internal/ports"
)

// Metrics says how the scraper finds the pod's metrics.
type Metrics struct {
	// Port is where the scraper is sent, the agent's; 0 leaves the pod's annotations alone.
	Port uint16
	// App holds the application's own endpoints for the agent; the zero value for none.
	App Scrape
	// Replaced lists the annotation keys that are removed first.
	Replaced []string
}

// Scrape is the application's metrics endpoints in the JSON that the agent reads
// (ISTIO_PROMETHEUS_ANNOTATIONS): the user's own words.
type Scrape struct {
	Scrape  string   `json:"scrape"`
	Path    string   `json:"path"`
	Port    string   `json:"port"`
	Targets []Target `json:"targets,omitempty"`
}

// Target is one of several endpoints.
type Target struct {
	Port string `json:"port"`
	Path string `json:"path"`
}

// IsZero reports that the application has no metrics of its own.
func (s Scrape) IsZero() bool {
	return s.Scrape == "" && s.Path == "" && s.Port == "" && len(s.Targets) == 0
}

// metrics decides whether the agent merges the application's metrics with its own.
func (r *reader) metrics() Metrics {
	if r.status == 0 || !r.merging() {
		return Metrics{}
	}
	var m Metrics
	for _, key := range slices.Sorted(maps.Keys(r.Pod.Annotations)) {
		field := m.App.field(key)
		if field == nil {
			continue
		}
		*field = r.Pod.Annotations[key]
		m.Replaced = append(m.Replaced, key)
	}
	if off, err := strconv.ParseBool(m.App.Scrape); err == nil && !off {
		return Metrics{}
	}
	if m.App.Port == strconv.Itoa(int(r.status)) {
		return Metrics{} // points at the agent already
	}
	m.Port = r.status
	if m.App.Targets = r.targets(); len(m.App.Targets) > 0 {
		m.App.Port, m.App.Path = m.App.Targets[0].Port, m.App.Targets[0].Path
		return m
	}
	if m.App.Port != "" {
		r.metricsPort(meta.PrometheusPort, m.App.Port)
	}
	return m
}

// merging reads whether merging is wanted at all.
func (r *reader) merging() bool {
	on := r.Defaults.Mesh.EnablePrometheusMerge == nil || r.Defaults.Mesh.EnablePrometheusMerge.Value
	if v, ok := r.get(meta.MergeMetrics); ok {
		b, err := strconv.ParseBool(v)
		if err != nil {
			r.bad(meta.MergeMetrics, "%q is neither true nor false", v)
		}
		return b
	}
	return on
}

// field returns the part of s that an annotation key means, in any spelling that
// Prometheus takes for the same (it replaces all but letters and digits by "_").
func (s *Scrape) field(key string) *string {
	if len(key) < len("prometheus_io_") || !strings.EqualFold(key[:len("prometheus")], "prometheus") {
		return nil
	}
	spelt := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, key)
	switch spelt {
	case "prometheus_io_scrape":
		return &s.Scrape
	case "prometheus_io_path":
		return &s.Path
	case "prometheus_io_port":
		return &s.Port
	}
	return nil
}

// targets reads the list of endpoints; a malformed entry is left out with a warning.
func (r *reader) targets() []Target {
	v, ok := r.get(meta.ScrapeTargets)
	if !ok {
		return nil
	}
	var out []Target
	for word := range strings.SplitSeq(v, ",") {
		word = strings.TrimSpace(word)
		port, path, _ := strings.Cut(word, ":")
		if path == "" {
			path = "/metrics"
		}
		if _, err := strconv.ParseUint(port, 10, 32); err != nil || !strings.HasPrefix(path, "/") {
			r.warn(meta.ScrapeTargets, InvalidAnnotation, "%q is not PORT:/PATH, left out", word)
			continue
		}
		if r.metricsPort(meta.ScrapeTargets, port) {
			out = append(out, Target{Port: port, Path: path})
		}
	}
	return out
}

// metricsPort refuses a port that is none or that is the proxy's: the agent would scrape
// itself, or show the proxy's admin endpoint to everyone.
func (r *reader) metricsPort(key, port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		r.bad(key, "%q is not a port, write a number from 1 to 65535", port)
		return false
	}
	reserved := []uint16{
		ports.EnvoyAdmin, ports.OutboundCapture, ports.AgentDebug, ports.InboundCapture, ports.Tunnel,
		ports.AgentStatus, ports.EnvoyHealth, ports.AgentDNS, ports.EnvoyPrometheus,
	}
	if slices.Contains(reserved, uint16(n)) || uint16(n) == r.status {
		r.report(annotation(key), ReservedMetricsPort, true,
			"port "+port+" belongs to the proxy: name the application's own metrics port")
		return false
	}
	return true
}
