package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicemesh/sluice/webhook/policy"
)

const inject = "sidecar.istio.io/inject"

// TestTruthTable holds the table of the specification, row by row, for the three policies.
func TestTruthTable(t *testing.T) {
	type answers [3]policy.Reason // enabled, disabled, junk
	tests := []struct {
		name      string
		host      bool
		namespace string
		label     string // "-" for no label
		never     bool
		always    bool
		want      answers
	}{
		{"host network", true, "default", "-", false, false, answers{policy.HostNetwork, policy.HostNetwork, policy.HostNetwork}},
		{"host network, asked", true, "default", "true", false, true, answers{policy.HostNetwork, policy.HostNetwork, policy.HostNetwork}},
		{"kube-system", false, "kube-system", "true", false, true, answers{policy.IgnoredNamespace, policy.IgnoredNamespace, policy.IgnoredNamespace}},
		{"kube-public", false, "kube-public", "-", false, false, answers{policy.IgnoredNamespace, policy.IgnoredNamespace, policy.IgnoredNamespace}},
		{"kube-node-lease", false, "kube-node-lease", "-", false, false, answers{policy.IgnoredNamespace, policy.IgnoredNamespace, policy.IgnoredNamespace}},
		{"local-path-storage", false, "local-path-storage", "-", false, false, answers{policy.IgnoredNamespace, policy.IgnoredNamespace, policy.IgnoredNamespace}},
		{"true", false, "default", "true", false, false, answers{policy.PodOptedIn, policy.PodOptedIn, policy.PolicyUnknown}},
		{"true beats never", false, "default", "true", true, false, answers{policy.PodOptedIn, policy.PodOptedIn, policy.PolicyUnknown}},
		{"false", false, "default", "false", false, false, answers{policy.PodOptedOut, policy.PodOptedOut, policy.PolicyUnknown}},
		{"false beats always", false, "default", "false", false, true, answers{policy.PodOptedOut, policy.PodOptedOut, policy.PolicyUnknown}},
		{"never", false, "default", "-", true, false, answers{policy.NeverSelected, policy.NeverSelected, policy.PolicyUnknown}},
		{"never beats always", false, "default", "-", true, true, answers{policy.NeverSelected, policy.NeverSelected, policy.PolicyUnknown}},
		{"always", false, "default", "-", false, true, answers{policy.AlwaysSelected, policy.AlwaysSelected, policy.PolicyUnknown}},
		{"nothing", false, "default", "-", false, false, answers{policy.PolicyEnabled, policy.PolicyDisabled, policy.PolicyUnknown}},
		{"empty label", false, "default", "", false, false, answers{policy.PolicyEnabled, policy.PolicyDisabled, policy.PolicyUnknown}},
		{"invalid", false, "default", "yes", false, false, answers{policy.PolicyEnabled, policy.PolicyDisabled, policy.PolicyUnknown}},
		{"invalid case", false, "default", "True", false, false, answers{policy.PolicyEnabled, policy.PolicyDisabled, policy.PolicyUnknown}},
		{"invalid, never", false, "default", "yes", true, false, answers{policy.NeverSelected, policy.NeverSelected, policy.PolicyUnknown}},
	}
	yes := map[policy.Reason]bool{policy.PodOptedIn: true, policy.AlwaysSelected: true, policy.PolicyEnabled: true}
	for _, tt := range tests {
		for i, p := range []policy.Policy{"enabled", "disabled", "junk"} {
			t.Run(tt.name+"/"+string(p), func(t *testing.T) {
				pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}}}
				pod.Spec.HostNetwork = tt.host
				if tt.label != "-" {
					pod.Labels[inject] = tt.label
				}
				rules := policy.Rules{Policy: p}
				match := []metav1.LabelSelector{{MatchLabels: map[string]string{"app": "x"}}}
				if tt.never {
					rules.Never, _ = policy.Selectors(match)
				}
				if tt.always {
					rules.Always, _ = policy.Selectors(match)
				}
				got := policy.Decide(pod, tt.namespace, rules)
				if got.Reason != tt.want[i] || got.Inject != yes[tt.want[i]] {
					t.Errorf("Decide = %v %s; want %v %s", got.Inject, got.Reason, yes[tt.want[i]], tt.want[i])
				}
			})
		}
	}
}

func TestChoice(t *testing.T) {
	enabled := policy.Rules{Policy: policy.Enabled}
	tests := []struct {
		name                string
		labels, annotations map[string]string
		want                policy.Decision
	}{
		{"annotation false", nil, map[string]string{inject: "false"}, policy.Decision{Reason: policy.PodOptedOut}},
		{"annotation true", nil, map[string]string{inject: "true"}, policy.Decision{Inject: true, Reason: policy.PodOptedIn, Asked: true}},
		{
			"label beats annotation",
			map[string]string{inject: "true"},
			map[string]string{inject: "false"},
			policy.Decision{Inject: true, Reason: policy.PodOptedIn, Asked: true},
		},
		{
			"empty label hides annotation",
			map[string]string{inject: ""},
			map[string]string{inject: "false"},
			policy.Decision{Inject: true, Reason: policy.PolicyEnabled},
		},
		{"invalid is reported", map[string]string{inject: "on"}, nil, policy.Decision{Inject: true, Reason: policy.PolicyEnabled, Invalid: "on"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: tt.labels, Annotations: tt.annotations}}
			if diff := cmp.Diff(tt.want, policy.Decide(pod, "default", enabled)); diff != "" {
				t.Errorf("Decide differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPodNamespaceWins(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}}
	if d := policy.Decide(pod, "kube-system", policy.Rules{Policy: policy.Enabled}); !d.Inject {
		t.Errorf("pod of namespace shop: %s; want injection", d.Reason)
	}
}

func TestSelectors(t *testing.T) {
	got, errs := policy.Selectors([]metav1.LabelSelector{
		{},
		{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Sometimes"}}},
		{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpExists}}},
	})
	if len(got) != 1 || got[0].String() != "a" {
		t.Errorf("Selectors = %v; want only the valid, non-empty one", got)
	}
	if len(errs) != 1 {
		t.Errorf("errors = %v; want one", errs)
	}
}
