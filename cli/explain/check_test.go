package explain

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/cli/source"
	"github.com/sluicemesh/sluice/webhook/policy"
)

// TestReasonOf: a webhook that the labels do not ask for, as a tag's beside the default
// revision's, is not at fault; the line says what it would answer to.
func TestReasonOf(t *testing.T) {
	w, err := newWorld(t.Context(), open(t, source.Options{Offline: true}))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		tag  string
		want string
	}{
		{"", "Namespace label istio-injection=enabled matches"},
		{"prod", "No matching namespace label (istio.io/rev=prod) or pod label (istio.io/rev=prod)"},
	}
	for _, tt := range tests {
		w.given["shop"] = map[string]string{"istio-injection": "enabled"}
		q, err := w.question(t.Context(), &corev1.Pod{}, "shop")
		if err != nil {
			t.Fatal(err)
		}
		if tt.tag != "" {
			// The chart gives a tag the two entries that every revision has.
			var entries []policy.Webhook
			for _, h := range q.Webhooks {
				if h.Name == "rev.namespace.sidecar-injector.istio.io" || h.Name == "rev.object.sidecar-injector.istio.io" {
					h.Tag = tt.tag
					entries = append(entries, h)
				}
			}
			q.Webhooks = entries
		}
		if got := reasonOf(q, policy.Explain(q)); got != tt.want {
			t.Errorf("tag %q: %q; want %q", tt.tag, got, tt.want)
		}
	}
}
