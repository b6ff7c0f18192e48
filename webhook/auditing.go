package webhook

import (
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/sluicemesh/sluice/webhook/audit"
	"github.com/sluicemesh/sluice/webhook/notice"
	"github.com/sluicemesh/sluice/webhook/params"
)

// ProxyImage returns the proxy image that injection gives a pod under the settings, for a
// pod that may be running already; empty where that cannot be told without injecting.
func ProxyImage(s *Settings, pod *corev1.Pod) string {
	return params.ProxyImage(Request{Pod: pod}.input(s, pod))
}

// newAuditor makes the auditor of the own revision.
func newAuditor(mgr ctrl.Manager, cfg Config, st *state) (*audit.Auditor, error) {
	leases, err := coordinationv1.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("make client of leases: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name this replica: %w", err)
	}
	election := audit.Election{
		Leases: leases, Namespace: cfg.Namespace, Name: "sluice-auditor" + cfg.suffix(),
		Identity: host + "_" + string(uuid.NewUUID()), Log: cfg.Log,
	}
	return audit.New(audit.Config{
		Cache: mgr.GetCache(), Revision: st.revision(cfg.Revision), Changed: st.changed, Lead: election.Lead, Log: cfg.Log,
		// Its own board: many findings must not keep back what the webhook has to say.
		Notices: notice.NewBoard(mgr.GetEventRecorder("sluice-auditor")),
	}, metrics.Registry)
}

// revision returns the settings in force, of the own revision alone: others audit their
// pods themselves.
func (s *state) revision(own string) func(string) (audit.Revision, bool) {
	return func(name string) (audit.Revision, bool) {
		settings := s.settings.Load()
		if name != own || settings == nil {
			return audit.Revision{}, false
		}
		return audit.Revision{
			Rules: settings.Rules,
			Image: func(pod *corev1.Pod) string { return ProxyImage(settings, pod) },
		}, true
	}
}
