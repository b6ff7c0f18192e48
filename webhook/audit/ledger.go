package audit

import (
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluicemesh/sluice/webhook/notice"
)

// The reasons of the Events about findings.
const (
	eventNotInjected = "NotInjected"   // a pod should have a proxy and has none
	eventOutdated    = "OutdatedProxy" // a pod's proxy is not the one that injection would give it now
)

// gauges show how many findings stand now.
type gauges struct {
	uninjected *prometheus.GaugeVec // by namespace and reason
	outdated   *prometheus.GaugeVec // by namespace
}

func newGauges() gauges {
	return gauges{
		uninjected: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_uninjected_pods", Help: "Running pods that should have a proxy and have none; counted by one replica of the revision.",
		}, []string{"namespace", "reason"}),
		outdated: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_outdated_proxies", Help: "Running pods whose proxy image is not the one that injection would give now; counted by one replica of the revision.",
		}, []string{"namespace"}),
	}
}

// ledger holds the findings that stand. It is used by one goroutine.
type ledger struct {
	gauges
	findings map[types.NamespacedName]Finding
	counts   map[series]int
	unsaid   []types.NamespacedName // findings without an Event yet, oldest first
}

// series is one line of a gauge; the reason OutdatedProxy means the other gauge.
type series struct {
	namespace string
	reason    Reason
}

func newLedger(g gauges) *ledger {
	return &ledger{gauges: g, findings: map[types.NamespacedName]Finding{}, counts: map[series]int{}}
}

// put records what is now known of a pod: a finding, or with bad false, that there is none.
func (l *ledger) put(name types.NamespacedName, f Finding, bad bool) {
	old, stood := l.findings[name]
	if stood && bad && old == f {
		return
	}
	if stood {
		l.count(series{name.Namespace, old.Reason}, -1)
		delete(l.findings, name)
	}
	if bad {
		l.count(series{name.Namespace, f.Reason}, 1)
		l.findings[name] = f
		if !stood || old.Reason != f.Reason || old.UID != f.UID {
			l.unsaid = append(l.unsaid, name)
		}
	}
}

func (l *ledger) count(s series, by int) {
	l.counts[s] += by
	n := l.counts[s]
	if n == 0 {
		delete(l.counts, s)
	}
	vec, labels := l.uninjected, []string{s.namespace, string(s.reason)}
	if s.reason == OutdatedProxy {
		vec, labels = l.outdated, labels[:1]
	}
	if n == 0 {
		vec.DeleteLabelValues(labels...)
		return
	}
	vec.WithLabelValues(labels...).Set(float64(n))
}

// names lists the pods with a finding in a namespace; in all for "".
func (l *ledger) names(namespace string) []types.NamespacedName {
	var out []types.NamespacedName
	for name := range l.findings {
		if namespace == "" || name.Namespace == namespace {
			out = append(out, name)
		}
	}
	return out
}

// say publishes an Event for each finding that has none yet, as far as post lets it, and
// reports whether some are left.
func (l *ledger) say(post func(notice.Notice) bool) bool {
	for len(l.unsaid) > 0 {
		if f, stands := l.findings[l.unsaid[0]]; stands && !post(f.notice()) {
			return true
		}
		l.unsaid = l.unsaid[1:]
	}
	l.unsaid = nil
	return false
}

// close takes the gauges back: another replica counts now.
func (l *ledger) close() {
	l.uninjected.Reset()
	l.outdated.Reset()
}

func (f Finding) notice() notice.Notice {
	n := notice.Notice{
		Regarding: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: f.Pod.Namespace, Name: f.Pod.Name, UID: f.UID},
		Warning:   true, Reason: eventNotInjected, Action: "Audit",
		Message: "The pod " + f.Found() + ". To correct it: " + f.Remedy() + " [" + string(f.Reason) + "]",
	}
	if f.Reason == OutdatedProxy {
		n.Warning, n.Reason = false, eventOutdated
	}
	return n
}
