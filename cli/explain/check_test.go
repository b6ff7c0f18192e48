package explain

import (
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicemesh/sluice/webhook/policy"
)

// tagWebhook is the webhook configuration of a tag of the default revision, with one entry.
func tagWebhook(key, value string) admissionv1.MutatingWebhookConfiguration {
	fail := admissionv1.Fail
	return admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "istio-revision-tag-prod", Labels: map[string]string{"istio.io/rev": "default", "istio.io/tag": "prod"}},
		Webhooks: []admissionv1.MutatingWebhook{{
			Name: "rev.namespace.sidecar-injector.istio.io", FailurePolicy: &fail,
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{key: value}},
			ObjectSelector:    &metav1.LabelSelector{},
		}},
	}
}

// TestReasonOfTag holds what the line of a tag says about pods that another revision has.
func TestReasonOfTag(t *testing.T) {
	mismatch := "the labels ask for an installed revision, but no entry matches them [SelectorMismatch]"
	tests := []struct {
		name           string
		namespace, pod map[string]string
		selector, want string
	}{
		{
			"the default revision's namespace", map[string]string{"istio-injection": "enabled"}, nil, "istio.io/rev",
			"namespace label istio-injection=enabled asks for revision default, not for prod",
		},
		{
			"a revision's namespace", map[string]string{"istio.io/rev": "default"}, nil, "istio.io/rev",
			"namespace label istio.io/rev=default asks for revision default, not for prod",
		},
		{
			"a revision's pod", nil, map[string]string{"istio.io/rev": "default"}, "istio.io/rev",
			"pod label istio.io/rev=default asks for revision default, not for prod",
		},
		{"selectors changed", map[string]string{"istio.io/rev": "prod"}, nil, "changed", mismatch},
		{"the tag's own", map[string]string{"istio.io/rev": "prod"}, nil, "istio.io/rev", "Namespace label istio.io/rev=prod matches"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			hooks, problems := policy.Webhooks([]admissionv1.MutatingWebhookConfiguration{tagWebhook(tt.selector, "prod")})
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			q := policy.Question{
				Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: tt.pod}}, Webhooks: hooks,
				Namespace: policy.Namespace{Name: "shop", Labels: tt.namespace},
				RulesOf:   func(string) (policy.Rules, bool) { return policy.Rules{Policy: "enabled"}, true },
			}
			if got := reasonOf(q, policy.Explain(q)); got != tt.want {
				t.Errorf("reason = %q; want %q", got, tt.want)
			}
		})
	}
}
