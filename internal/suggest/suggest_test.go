package suggest_test

import (
	"testing"

	"github.com/sluicemesh/sluice/internal/suggest"
)

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"kitten", "sitting", 3}, {"inject", "injct", 1}, {"ab", "ba", 2},
	} {
		if got := suggest.Distance(c.a, c.b); got != c.want {
			t.Errorf("Distance(%q, %q) = %d; want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"concurrency", "drainDuration", "statusPort", "statusPart"}
	for _, c := range []struct {
		name   string
		within int
		want   string
	}{
		{"concurency", 3, "concurrency"},
		{"statusPert", 3, "statusPort"}, // a tie: the first
		{"statusPert", 0, ""},
		{"port", 3, ""},
		{"drainDurationSeconds", 3, ""},
		{"drainDurationSeconds", 7, "drainDuration"},
	} {
		if got := suggest.Nearest(c.name, known, c.within); got != c.want {
			t.Errorf("Nearest(%q, %d) = %q; want %q", c.name, c.within, got, c.want)
		}
	}
}

func TestName(t *testing.T) {
	known := []string{"sidecar.istio.io/inject", "sidecar.istio.io/proxyCPU", "traffic.sidecar.istio.io/includeInboundPorts", "istio.io/rev"}
	for _, c := range []struct{ name, want string }{
		{"sidecar.istio.io/proxycpu", "sidecar.istio.io/proxyCPU"},
		{"sidecar.istio.io/includeInboundPorts", "traffic.sidecar.istio.io/includeInboundPorts"},
		{"sidecar.istio.io/injct", "sidecar.istio.io/inject"},
		{"istio.io/revision", ""},
		{"istio.io/reva", "istio.io/rev"},
		{"sidecar.istio.io/nonsense", ""},
	} {
		if got := suggest.Name(c.name, known); got != c.want {
			t.Errorf("Name(%q) = %q; want %q", c.name, got, c.want)
		}
	}
}
