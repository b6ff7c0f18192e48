package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicemesh/sluice/webhook/policy"
)

const (
	injection = "istio-injection"
	revision  = "istio.io/rev"
	tag       = "istio.io/tag"
)

func is(key, op string, values ...string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOperator(op), Values: values}
}

func entry(prefix string, namespace, object []metav1.LabelSelectorRequirement) admissionv1.MutatingWebhook {
	return admissionv1.MutatingWebhook{
		Name:              prefix + "sidecar-injector.istio.io",
		NamespaceSelector: &metav1.LabelSelector{MatchExpressions: namespace},
		ObjectSelector:    &metav1.LabelSelector{MatchExpressions: object},
		ClientConfig:      admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "istio-system", Name: "istiod"}},
		MatchConditions: []admissionv1.MatchCondition{
			{Name: "not-host-network", Expression: "a"},
			{Name: "not-system-namespace", Expression: "b"},
			{Name: "not-control-plane", Expression: "c"},
			{Name: "not-opted-out", Expression: "d"},
		},
	}
}

// install is the webhook configuration of a revision, or of a tag that points to it, by the
// table of the specification.
func install(rev, ofTag string, byDefault bool) admissionv1.MutatingWebhookConfiguration {
	c := admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{
		Name: "istio-sidecar-injector-" + rev, Labels: map[string]string{revision: rev},
	}}
	r := rev
	if ofTag != "" {
		c.Name = "istio-revision-tag-" + ofTag
		c.Labels[tag] = ofTag
		r = ofTag
	}
	type list = []metav1.LabelSelectorRequirement
	noInjection, noRevision := is(injection, "DoesNotExist"), is(revision, "DoesNotExist")
	notFalse := is(inject, "NotIn", "false")
	c.Webhooks = []admissionv1.MutatingWebhook{
		entry("rev.namespace.", list{is(revision, "In", r), noInjection}, list{notFalse}),
		entry("rev.object.", list{noRevision, noInjection}, list{notFalse, is(revision, "In", r)}),
	}
	if r == "default" {
		c.Webhooks = append(c.Webhooks,
			entry("namespace.", list{is(injection, "In", "enabled")}, list{notFalse}),
			entry("object.", list{noRevision, noInjection}, list{is(inject, "In", "true"), noRevision}))
	}
	if byDefault {
		system := is("kubernetes.io/metadata.name", "NotIn", "kube-system", "kube-public", "kube-node-lease", "local-path-storage")
		c.Webhooks = append(c.Webhooks,
			entry("auto.", list{noRevision, noInjection, system}, list{is(inject, "DoesNotExist"), noRevision}))
	}
	return c
}

func webhooks(t *testing.T, configs ...admissionv1.MutatingWebhookConfiguration) []policy.Webhook {
	t.Helper()
	out, problems := policy.Webhooks(configs)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return out
}

func enabledEverywhere(string) (policy.Rules, bool) {
	return policy.Rules{Policy: policy.Enabled}, true
}

// set makes labels; "-" leaves one out.
func set(pairs ...string) map[string]string {
	out := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "-" {
			out[pairs[i]] = pairs[i+1]
		}
	}
	return out
}

// cells names what a cell of a matrix stands for: the entry that fires, or the reason.
var cells = map[byte]string{
	'N': "rev.namespace.", 'O': "rev.object.", 'n': "namespace.", 'o': "object.", 'a': "auto.",
	'f': "PodOptedOut", 'd': "NamespaceDisabled", 'x': "NamespaceOtherRevision", 'u': "NamespaceNotLabelled", 'p': "PodRevisionOther",
}

// TestMatrix holds the API server's gate over the whole label space, against the matrix of
// the specification: rows are the namespace's labels, columns the pod's.
func TestMatrix(t *testing.T) {
	// The columns: inject is absent, true, false, junk; then the same with rev=R, with rev=other.
	tests := []struct {
		name    string
		r       string // R
		configs []admissionv1.MutatingWebhookConfiguration
		// rows by namespace label: none, rev=R, rev=other; injection enabled, disabled, junk,
		// each of the latter with every rev.
		none, same, other, enabled, disabled string
	}{
		{
			"default revision", "default", []admissionv1.MutatingWebhookConfiguration{install("default", "", false)},
			"uofu OOfO ppfp", "NNfN NNfN NNfN", "xxxx xxxx xxxx", "nnfn nnfn nnfn", "dddd dddd dddd",
		},
		{
			"default revision, namespaces by default", "default", []admissionv1.MutatingWebhookConfiguration{install("default", "", true)},
			"aofu OOfO ppfp", "NNfN NNfN NNfN", "xxxx xxxx xxxx", "nnfn nnfn nnfn", "dddd dddd dddd",
		},
		{
			"other revision", "r1", []admissionv1.MutatingWebhookConfiguration{install("r1", "", false)},
			"uufu OOfO ppfp", "NNfN NNfN NNfN", "xxxx xxxx xxxx", "xxxx xxxx xxxx", "dddd dddd dddd",
		},
		{
			"tag", "prod", []admissionv1.MutatingWebhookConfiguration{install("r1", "", false), install("r1", "prod", false)},
			"uufu OOfO ppfp", "NNfN NNfN NNfN", "xxxx xxxx xxxx", "xxxx xxxx xxxx", "dddd dddd dddd",
		},
		{
			"tag default", "r1", []admissionv1.MutatingWebhookConfiguration{install("r1", "", false), install("r1", "default", false)},
			"uofu OOfO ppfp", "NNfN NNfN NNfN", "xxxx xxxx xxxx", "nnfn nnfn nnfn", "dddd dddd dddd",
		},
		{
			"default beside r1, asked for r1", "r1", []admissionv1.MutatingWebhookConfiguration{install("default", "", false), install("r1", "", false)},
			"uofu OOfO ppfp", "NNfN NNfN NNfN", "xxxx xxxx xxxx", "nnfn nnfn nnfn", "dddd dddd dddd",
		},
	}
	for _, tt := range tests {
		hooks := webhooks(t, tt.configs...)
		for _, inj := range []string{"-", "enabled", "disabled", "yes", ""} {
			for _, rev := range []string{"-", tt.r, "other"} {
				row := tt.disabled
				switch {
				case inj == "enabled":
					row = tt.enabled
				case inj == "-" && rev == "-":
					row = tt.none
				case inj == "-" && rev == tt.r:
					row = tt.same
				case inj == "-":
					row = tt.other
				}
				t.Run(fmt.Sprintf("%s/injection=%s,rev=%s", tt.name, inj, rev), func(t *testing.T) {
					testRow(t, hooks, set(injection, inj, revision, rev), tt.r, row)
				})
			}
		}
	}
}

// testRow asks for each of the twelve pods of a row.
func testRow(t *testing.T, hooks []policy.Webhook, namespace map[string]string, r, row string) {
	row = strings.ReplaceAll(row, " ", "")
	i := 0
	for _, podRev := range []string{"-", r, "other"} {
		for _, wish := range []string{"-", "true", "false", "yes"} {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: set(inject, wish, revision, podRev)}}
			e := policy.Explain(policy.Question{
				Pod: pod, Namespace: policy.Namespace{Name: "shop", Labels: namespace}, Webhooks: hooks, RulesOf: enabledEverywhere,
			})
			got := string(e.Decision.Reason)
			if e.Webhook != nil {
				got = strings.TrimSuffix(e.Webhook.Name, "sidecar-injector.istio.io")
			}
			if want := cells[row[i]]; got != want {
				t.Errorf("pod inject=%s rev=%s: %s; want %s", wish, podRev, got, want)
			}
			if e.Decision.Inject != (e.Webhook != nil) {
				t.Errorf("pod inject=%s rev=%s: Inject = %v with webhook %v", wish, podRev, e.Decision.Inject, e.Webhook)
			}
			i++
		}
	}
}

func TestRevisionThatAnswers(t *testing.T) {
	hooks := webhooks(t, install("r1", "", false), install("r1", "prod", false), install("default", "", false))
	for _, tt := range []struct{ key, value, config, revision string }{
		{revision, "prod", "istio-revision-tag-prod", "r1"},
		{revision, "r1", "istio-sidecar-injector-r1", "r1"},
		{revision, "default", "istio-sidecar-injector-default", "default"},
		{injection, "enabled", "istio-sidecar-injector-default", "default"},
	} {
		var asked []string
		e := policy.Explain(policy.Question{
			Pod: &corev1.Pod{}, Webhooks: hooks,
			Namespace: policy.Namespace{Name: "shop", Labels: map[string]string{tt.key: tt.value}},
			RulesOf: func(r string) (policy.Rules, bool) {
				asked = append(asked, r)
				return policy.Rules{Policy: policy.Enabled}, true
			},
		})
		if e.Webhook == nil || e.Webhook.Config != tt.config {
			t.Errorf("%s=%s calls %v; want %s", tt.key, tt.value, e.Webhook, tt.config)
		}
		if diff := cmp.Diff([]string{tt.revision}, asked); diff != "" {
			t.Errorf("%s=%s: rules of other revisions (-want +got):\n%s", tt.key, tt.value, diff)
		}
	}
}

func TestConditions(t *testing.T) {
	on := func(edit func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{}
		edit(p)
		return p
	}
	label := func(v string) *corev1.Pod {
		return on(func(p *corev1.Pod) { p.Labels = map[string]string{inject: v} })
	}
	annotation := func(v string) *corev1.Pod {
		return on(func(p *corev1.Pod) { p.Annotations = map[string]string{inject: v} })
	}
	tests := []struct {
		name, namespace string
		pod             *corev1.Pod
		want            policy.Reason // of the decision
		called          bool
	}{
		{"plain", "shop", &corev1.Pod{}, policy.PolicyEnabled, true},
		{"host network", "shop", on(func(p *corev1.Pod) { p.Spec.HostNetwork = true }), policy.HostNetwork, false},
		{"kube-system", "kube-system", &corev1.Pod{}, policy.IgnoredNamespace, false},
		{"kube-public", "kube-public", label("true"), policy.IgnoredNamespace, false},
		{"kube-node-lease", "kube-node-lease", &corev1.Pod{}, policy.IgnoredNamespace, false},
		{"local-path-storage", "local-path-storage", &corev1.Pod{}, policy.IgnoredNamespace, false},
		{"beside the control plane", "istio-system", &corev1.Pod{}, policy.ControlPlaneNamespace, false},
		{"gateway beside the control plane", "istio-system", label("true"), policy.PodOptedIn, true},
		{"annotated beside the control plane", "istio-system", annotation("true"), policy.ControlPlaneNamespace, false},
		{"annotation false", "shop", annotation("false"), policy.PodOptedOut, false},
		{"annotation true", "shop", annotation("true"), policy.PodOptedIn, true},
		{"label beats annotation", "shop", on(func(p *corev1.Pod) {
			p.Labels, p.Annotations = map[string]string{inject: "true"}, map[string]string{inject: "false"}
		}), policy.PodOptedIn, true},
		{"empty label beats annotation", "shop", on(func(p *corev1.Pod) {
			p.Labels, p.Annotations = map[string]string{inject: ""}, map[string]string{inject: "false"}
		}), policy.PolicyEnabled, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := policy.Explain(policy.Question{
				Pod: tt.pod, Webhooks: webhooks(t, install("default", "", false)), RulesOf: enabledEverywhere,
				Namespace: policy.Namespace{Name: tt.namespace, Labels: map[string]string{injection: "enabled"}},
			})
			if e.Decision.Reason != tt.want || (e.Webhook != nil) != tt.called {
				t.Errorf("Explain = %s, called %v; want %s, %v", e.Decision.Reason, e.Webhook != nil, tt.want, tt.called)
			}
		})
	}
}

func TestUnknownConditionIsTakenAsTrueAndSaid(t *testing.T) {
	config := install("default", "", false)
	config.Webhooks[2].MatchConditions = []admissionv1.MatchCondition{{Name: "mine", Expression: "object.spec.x"}}
	e := policy.Explain(policy.Question{
		Pod: &corev1.Pod{}, Webhooks: webhooks(t, config), RulesOf: enabledEverywhere,
		Namespace: policy.Namespace{Name: "shop", Labels: map[string]string{injection: "enabled"}},
	})
	if !e.Decision.Inject {
		t.Errorf("not injected: %s", e.Decision.Reason)
	}
	want := policy.Step{
		Gate: "api-server", Webhook: "istio-sidecar-injector-default/namespace.sidecar-injector.istio.io", Rule: "condition mine",
		Outcome: "not-evaluated", Reason: "ConditionUnknown", Found: "not evaluated here, taken as true: object.spec.x",
	}
	for _, s := range e.Steps {
		if s.Rule == "condition mine" {
			if diff := cmp.Diff(want, s); diff != "" {
				t.Error(diff)
			}
			return
		}
	}
	t.Errorf("no step for the condition in %v", e.Steps)
}

func TestWebhooks(t *testing.T) {
	a, b := install("r2", "", false), install("default", "", false)
	b.Webhooks = b.Webhooks[2:3]
	b.Webhooks[0].MatchConditions = []admissionv1.MatchCondition{
		{Name: "not-control-plane", Expression: `request.namespace != "mesh" || true`},
	}
	b.Webhooks = append(b.Webhooks, admissionv1.MutatingWebhook{Name: "vault.example.com"})
	ignore := admissionv1.Ignore
	a.Webhooks = a.Webhooks[:2]
	a.Webhooks[0].ObjectSelector, a.Webhooks[0].FailurePolicy = nil, &ignore
	a.Webhooks[1].NamespaceSelector.MatchExpressions[0].Operator = "Sometimes"
	a.Generation = 3
	bare := admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "z"}, Webhooks: []admissionv1.MutatingWebhook{{Name: "x.sidecar-injector.istio.io"}},
	}
	got, problems := policy.Webhooks([]admissionv1.MutatingWebhookConfiguration{bare, a, b})
	type row struct{ Name, Revision, ControlPlane, Failure, Object string }
	var rows []row
	for _, w := range got {
		rows = append(rows, row{w.String(), w.Revision, w.ControlPlane, string(w.FailurePolicy), w.ObjectSelector.String()})
	}
	want := []row{
		{"istio-sidecar-injector-default/namespace.sidecar-injector.istio.io", "default", "mesh", "Fail", "sidecar.istio.io/inject notin (false)"},
		{"istio-sidecar-injector-r2/rev.namespace.sidecar-injector.istio.io", "r2", "istio-system", "Ignore", ""},
		{"z/x.sidecar-injector.istio.io", "default", "", "Fail", ""},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("Webhooks differ (-want +got):\n%s", diff)
	}
	const bad = `MutatingWebhookConfiguration.admissionregistration.k8s.io istio-sidecar-injector-r2: webhooks[1]: ` +
		`namespaceSelector: "Sometimes" is not a valid label selector operator: the entry is left out, correct it [InvalidWebhook]`
	if len(problems) != 1 || problems[0].String() != bad {
		t.Errorf("problems = %v\nwant       [%s]", problems, bad)
	}
}

func TestSeveralWebhooks(t *testing.T) {
	twice := install("r1", "", false)
	twice.Webhooks = install("default", "", false).Webhooks // somebody copied the default's selectors
	rulesOf := func(answers map[string]policy.Policy) func(string) (policy.Rules, bool) {
		return func(r string) (policy.Rules, bool) { return policy.Rules{Policy: answers[r]}, true }
	}
	tests := []struct {
		name    string
		answers map[string]policy.Policy
		want    policy.Decision
		by      string
	}{
		{"both inject, the last holds", map[string]policy.Policy{"default": "enabled", "r1": "enabled"},
			policy.Decision{Inject: true, Reason: policy.PolicyEnabled}, "istio-sidecar-injector-r1"},
		{"the last leaves it injected", map[string]policy.Policy{"default": "enabled", "r1": "disabled"},
			policy.Decision{Inject: true, Reason: policy.PolicyEnabled}, "istio-sidecar-injector-default"},
		{"none injects", map[string]policy.Policy{"default": "junk", "r1": "disabled"},
			policy.Decision{Reason: policy.PolicyDisabled}, "istio-sidecar-injector-r1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := policy.Explain(policy.Question{
				Pod: &corev1.Pod{}, Webhooks: webhooks(t, install("default", "", false), twice), RulesOf: rulesOf(tt.answers),
				Namespace: policy.Namespace{Name: "shop", Labels: map[string]string{injection: "enabled"}},
			})
			if diff := cmp.Diff(tt.want, e.Decision); diff != "" {
				t.Error(diff)
			}
			if e.Webhook == nil || e.Webhook.Config != tt.by {
				t.Errorf("called by %v; want %s", e.Webhook, tt.by)
			}
			warned := 0
			for _, s := range e.Steps {
				if s.Reason == policy.MultipleWebhooks {
					warned++
				}
			}
			if warned != 1 {
				t.Errorf("%d warnings; want 1", warned)
			}
		})
	}
}
