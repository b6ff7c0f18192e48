package policy_test

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicemesh/sluice/webhook/policy"
)

// world is a question in the making.
type world struct {
	namespace policy.Namespace
	pod       *corev1.Pod
	configs   []admissionv1.MutatingWebhookConfiguration
	policy    policy.Policy
	never     []metav1.LabelSelector
}

func (w *world) question(t *testing.T) policy.Question {
	rules := policy.Rules{Policy: w.policy}
	rules.Never, _ = policy.Selectors(w.never)
	return policy.Question{
		Pod: w.pod, Namespace: w.namespace, Webhooks: webhooks(t, w.configs...),
		RulesOf: func(string) (policy.Rules, bool) { return rules, true },
	}
}

// TestRemedies holds what a user reads for each reason, and that following it helps.
func TestRemedies(t *testing.T) {
	defaultOnly := []admissionv1.MutatingWebhookConfiguration{install("default", "", false)}
	r1Only := []admissionv1.MutatingWebhookConfiguration{install("r1", "", false)}
	old := install("default", "", false)
	for i := range old.Webhooks {
		never := &metav1.LabelSelector{MatchLabels: map[string]string{"istio.io/deactivated": "never-match"}}
		old.Webhooks[i].NamespaceSelector, old.Webhooks[i].ObjectSelector = never, never
	}
	narrowed := install("default", "", false)
	narrowed.Webhooks[2].ObjectSelector.MatchExpressions[0] = is("team", "Exists")

	label := func(key, value string) func(*world) { return func(w *world) { w.pod.Labels[key] = value } }
	labelNamespace := func(key, value string) func(*world) {
		return func(w *world) { delete(w.namespace.Labels, injection); w.namespace.Labels[key] = value }
	}
	reconfigure := func(c []admissionv1.MutatingWebhookConfiguration) func(*world) {
		return func(w *world) { w.configs = c }
	}
	tests := []struct {
		name   string
		labels map[string]string // of the namespace
		set    func(*world)
		reason policy.Reason
		found  string
		remedy string
		follow func(*world)
	}{
		{
			"no webhook", set(injection, "enabled"), reconfigure(nil), policy.NoWebhook,
			"no entry of a MutatingWebhookConfiguration ends in sidecar-injector.istio.io",
			"install the control plane: sluice install", reconfigure(defaultOnly),
		},
		{
			"deactivated", set(injection, "enabled"), reconfigure([]admissionv1.MutatingWebhookConfiguration{old}), policy.NoWebhook,
			"each of the 4 entries is deactivated",
			"make a revision the default, or label the namespace for one that is active", reconfigure(defaultOnly),
		},
		{
			"ignored namespace", nil, func(w *world) { w.namespace.Name = "kube-system" }, policy.IgnoredNamespace,
			"the namespace is kube-system",
			"run the pod in another namespace: kube-system belongs to the cluster and is never injected",
			func(w *world) { w.namespace = policy.Namespace{Name: "shop", Labels: set(injection, "enabled")} },
		},
		{
			"host network", set(injection, "enabled"), func(w *world) { w.pod.Spec.HostNetwork = true }, policy.HostNetwork,
			"spec.hostNetwork is true",
			"remove spec.hostNetwork: on the node's network, interception would capture the whole node's traffic",
			func(w *world) { w.pod.Spec.HostNetwork = false },
		},
		{
			"disabled", set(injection, "disabled"), nil, policy.NamespaceDisabled, "namespace label istio-injection=disabled",
			"kubectl label namespace shop istio-injection=enabled --overwrite, then create the pod again", labelNamespace(injection, "enabled"),
		},
		{
			"misspelt", set(injection, "true"), reconfigure(r1Only), policy.NamespaceDisabled, "namespace label istio-injection=true",
			"kubectl label namespace shop istio-injection- istio.io/rev=r1 --overwrite, then create the pod again", labelNamespace(revision, "r1"),
		},
		{
			"other revision", set(revision, "r2"), reconfigure(r1Only), policy.NamespaceOtherRevision,
			"namespace label istio.io/rev=r2 asks for revision r2; installed: r1",
			"kubectl label namespace shop istio.io/rev=r1 --overwrite, or install that revision; then create the pod again",
			labelNamespace(revision, "r1"),
		},
		{
			"no default revision", set(injection, "enabled"), reconfigure(r1Only), policy.NamespaceOtherRevision,
			"namespace label istio-injection=enabled asks for revision default; installed: r1",
			"kubectl label namespace shop istio-injection- istio.io/rev=r1 --overwrite, then create the pod again",
			labelNamespace(revision, "r1"),
		},
		{
			"opted out", set(injection, "enabled"), label(inject, "false"), policy.PodOptedOut, "label sidecar.istio.io/inject=false",
			"remove the pod's label sidecar.istio.io/inject, or set it to true", label(inject, "true"),
		},
		{
			"opted out by annotation", set(injection, "enabled"),
			func(w *world) { w.pod.Annotations = map[string]string{inject: "false"} }, policy.PodOptedOut,
			"annotation sidecar.istio.io/inject=false",
			"remove the pod's annotation sidecar.istio.io/inject, or set the label of that name to true", label(inject, "true"),
		},
		{
			"pod of another revision", nil, label(revision, "r2"), policy.PodRevisionOther,
			"pod label istio.io/rev=r2; installed: default",
			"label the pod istio.io/rev=default, or install that revision", label(revision, "default"),
		},
		{
			"unlabelled", nil, nil, policy.NamespaceNotLabelled,
			"namespace shop has neither label istio-injection nor istio.io/rev, the pod neither sidecar.istio.io/inject nor istio.io/rev",
			"kubectl label namespace shop istio-injection=enabled, or label the pod sidecar.istio.io/inject=true; then create the pod again",
			label(inject, "true"),
		},
		{
			"unlabelled, pod annotated", nil, func(w *world) { w.pod.Annotations = map[string]string{inject: "true"} }, policy.NamespaceNotLabelled,
			"namespace shop has neither label istio-injection nor istio.io/rev, and the API server does not see the pod's annotation sidecar.istio.io/inject",
			"kubectl label namespace shop istio-injection=enabled, or label the pod sidecar.istio.io/inject=true; then create the pod again",
			labelNamespace(injection, "enabled"),
		},
		{
			"unlabelled, other revision", nil, func(w *world) { w.pod.Labels[inject] = "true"; w.configs = r1Only }, policy.NamespaceNotLabelled,
			"namespace shop has neither label istio-injection nor istio.io/rev, and only the default revision heeds the pod's label sidecar.istio.io/inject alone",
			"kubectl label namespace shop istio.io/rev=r1, or label the pod istio.io/rev=r1; then create the pod again",
			label(revision, "r1"),
		},
		{
			"unlabelled, pod's label junk", nil, label(inject, "yes"), policy.NamespaceNotLabelled,
			"namespace shop has neither label istio-injection nor istio.io/rev, and the pod's label sidecar.istio.io/inject=yes is neither true nor false, the default holds",
			"kubectl label namespace shop istio-injection=enabled, or label the pod sidecar.istio.io/inject=true; then create the pod again",
			label(inject, "true"),
		},
		{
			"beside the control plane", set(injection, "enabled"), func(w *world) { w.namespace.Name = "istio-system" }, policy.ControlPlaneNamespace,
			"namespace istio-system is the control plane's, and the pod has no label sidecar.istio.io/inject=true",
			"label the pod sidecar.istio.io/inject=true, as gateways do, or run it in another namespace", label(inject, "true"),
		},
		{
			"selectors changed", set(injection, "enabled"), reconfigure([]admissionv1.MutatingWebhookConfiguration{narrowed}), policy.SelectorMismatch,
			"the labels ask for an installed revision, but no entry matches them",
			"see which entry misses above: correct its selectors, or the labels", label("team", "a"),
		},
		{
			"broken policy", set(injection, "enabled"), func(w *world) { w.policy = "on" }, policy.PolicyUnknown,
			`the policy is "on"`, "set global.proxy.autoInject to enabled or disabled; until then nothing is injected",
			func(w *world) { w.policy = policy.Enabled },
		},
		{
			"never", set(injection, "enabled"),
			func(w *world) { w.never = []metav1.LabelSelector{{MatchLabels: map[string]string{"app": "x"}}} }, policy.NeverSelected,
			`selector "app=x" matches`, "change the pod's labels or neverInjectSelector, or label the pod sidecar.istio.io/inject=true",
			label(inject, "true"),
		},
		{
			"policy disabled", set(injection, "enabled"), func(w *world) { w.policy = policy.Disabled }, policy.PolicyDisabled,
			`the policy is "disabled"`, "label the pod sidecar.istio.io/inject=true, or set global.proxy.autoInject to enabled",
			label(inject, "true"),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{
				namespace: policy.Namespace{Name: "shop", Labels: set()}, configs: defaultOnly, policy: policy.Enabled,
				pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}}},
			}
			if tt.labels != nil {
				w.namespace.Labels = tt.labels
			}
			if tt.set != nil {
				tt.set(w)
			}
			e := policy.Explain(w.question(t))
			if e.Decision.Inject || e.Decision.Reason != tt.reason {
				t.Fatalf("Explain = %v %s; want %s", e.Decision.Inject, e.Decision.Reason, tt.reason)
			}
			s := refusing(e)
			if s.Reason != tt.reason || s.Found != tt.found || s.Remedy != tt.remedy {
				t.Errorf("the step says\n%s\n%s\n%s\nwant\n%s\n%s\n%s", s.Reason, s.Found, s.Remedy, tt.reason, tt.found, tt.remedy)
			}
			tt.follow(w)
			if e := policy.Explain(w.question(t)); !e.Decision.Inject {
				t.Errorf("the remedy was followed, and still %s", e.Decision.Reason)
			}
		})
	}
}

// refusing returns the first step that refuses.
func refusing(e policy.Explanation) policy.Step {
	for _, s := range e.Steps {
		if s.Outcome == policy.Refuses {
			return s
		}
	}
	return policy.Step{}
}

// TestSteps holds all steps of two questions: one that is injected, one that both gates
// refuse.
func TestSteps(t *testing.T) {
	const config = "istio-sidecar-injector-default/"
	hook := func(prefix, rule, outcome, found string) policy.Step {
		return policy.Step{
			Gate: "api-server", Webhook: config + prefix + "sidecar-injector.istio.io", Rule: rule, Outcome: policy.Outcome(outcome), Found: found,
		}
	}
	own := func(webhook, rule, outcome, found string) policy.Step {
		return policy.Step{Gate: "injector", Webhook: webhook, Rule: rule, Outcome: policy.Outcome(outcome), Found: found}
	}
	const none = "namespace has no label istio-injection"
	by := config + "object.sidecar-injector.istio.io"
	decided := func(s policy.Step, r policy.Reason, remedy string) policy.Step {
		s.Reason, s.Remedy = r, remedy
		return s
	}
	missed := []policy.Step{
		hook("rev.namespace.", "namespace selector", "missed", "namespace has no label istio.io/rev, wanted default"),
		hook("rev.object.", "namespace selector", "passed", none+"; namespace has no label istio.io/rev"),
		hook("rev.object.", "pod selector", "missed", "pod has no label istio.io/rev, wanted default"),
		hook("namespace.", "namespace selector", "missed", none+", wanted enabled"),
		hook("object.", "namespace selector", "passed", none+"; namespace has no label istio.io/rev"),
	}
	tests := []struct {
		name string
		pod  *corev1.Pod
		want []policy.Step
	}{
		{
			"injected", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{inject: "true"}}},
			append(missed[:5:5],
				hook("object.", "pod selector", "passed", "pod has no label istio.io/rev; pod label sidecar.istio.io/inject=true"),
				hook("object.", "condition not-host-network", "passed", "spec.hostNetwork is not set"),
				hook("object.", "condition not-system-namespace", "passed", "the namespace is shop"),
				hook("object.", "condition not-control-plane", "passed", "the namespace is shop, pod label sidecar.istio.io/inject=true"),
				hook("object.", "condition not-opted-out", "passed", "label sidecar.istio.io/inject=true"),
				hook("object.", "the entry calls the injector", "calls", "revision default answers, failurePolicy Fail"),
				own(by, "the pod uses the node's network", "passed", "spec.hostNetwork is not set"),
				own(by, "the namespace belongs to the cluster", "passed", "the namespace is shop"),
				own(by, "the policy is neither enabled nor disabled", "passed", `the policy is "enabled"`),
				decided(own(by, "the pod asks for injection", "injects", "label sidecar.istio.io/inject=true"), "PodOptedIn", ""),
				own(by, "the pod refuses injection", "not-reached", "label sidecar.istio.io/inject=true"),
				own(by, "neverInjectSelector matches", "not-reached", "there is no selector"),
				own(by, "alwaysInjectSelector matches", "not-reached", "there is no selector"),
				own(by, "the policy is enabled", "not-reached", `the policy is "enabled"`),
				own(by, "the policy is disabled", "not-reached", `the policy is "enabled"`),
			),
		},
		{
			"refused twice", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}}},
			append(missed[:5:5],
				hook("object.", "pod selector", "missed", "pod has no label sidecar.istio.io/inject, wanted true"),
				decided(policy.Step{
					Gate: "api-server", Rule: "an entry calls the injector", Outcome: "refuses",
					Found: "namespace shop has neither label istio-injection nor istio.io/rev, the pod neither sidecar.istio.io/inject nor istio.io/rev",
				}, "NamespaceNotLabelled", "kubectl label namespace shop istio-injection=enabled, or label the pod sidecar.istio.io/inject=true; then create the pod again"),
				own("", "the pod uses the node's network", "passed", "spec.hostNetwork is not set"),
				own("", "the namespace belongs to the cluster", "passed", "the namespace is shop"),
				own("", "the policy is neither enabled nor disabled", "passed", `the policy is "enabled"`),
				own("", "the pod asks for injection", "passed", "neither label nor annotation sidecar.istio.io/inject"),
				own("", "the pod refuses injection", "passed", "neither label nor annotation sidecar.istio.io/inject"),
				decided(own("", "neverInjectSelector matches", "refuses", `selector "app=x" matches`), "NeverSelected",
					"change the pod's labels or neverInjectSelector, or label the pod sidecar.istio.io/inject=true"),
				own("", "alwaysInjectSelector matches", "not-reached", "there is no selector"),
				own("", "the policy is enabled", "not-reached", `the policy is "enabled"`),
				own("", "the policy is disabled", "not-reached", `the policy is "enabled"`),
			),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{
				namespace: policy.Namespace{Name: "shop"}, pod: tt.pod, policy: policy.Enabled,
				configs: []admissionv1.MutatingWebhookConfiguration{install("default", "", false)},
				never:   []metav1.LabelSelector{{MatchLabels: map[string]string{"app": "x"}}},
			}
			if tt.name == "injected" {
				w.never = nil
			}
			if diff := cmp.Diff(tt.want, policy.Explain(w.question(t)).Steps); diff != "" {
				t.Errorf("steps differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRulesUnknown(t *testing.T) {
	e := policy.Explain(policy.Question{
		Pod: &corev1.Pod{}, Webhooks: webhooks(t, install("r1", "", false)),
		Namespace: policy.Namespace{Name: "shop", Labels: map[string]string{revision: "r1"}},
		RulesOf:   func(string) (policy.Rules, bool) { return policy.Rules{}, false },
	})
	if e.Decision.Inject || e.Decision.Reason != policy.RulesUnknown || e.Webhook == nil {
		t.Errorf("Explain = %+v; want RulesUnknown of the entry that calls", e)
	}
	last := e.Steps[len(e.Steps)-1]
	if last.Outcome != policy.NotEvaluated || last.Found != "revision r1 is asked, its settings are not at hand" {
		t.Errorf("last step = %+v", last)
	}
}

// TestWalksAgree compares the three ways of asking over random worlds.
func TestWalksAgree(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 2))
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	some := func(key string, values ...string) map[string]string { return set(key, pick(append(values, "-")...)) }
	installs := []admissionv1.MutatingWebhookConfiguration{
		install("default", "", true), install("r1", "", false), install("r1", "prod", false), install("r2", "default", false),
	}
	reasons := map[policy.Reason]int{}
	for range 20_000 {
		w := &world{policy: policy.Policy(pick("enabled", "disabled", "enabled", "junk")), pod: &corev1.Pod{}}
		w.namespace = policy.Namespace{Name: pick("shop", "shop", "kube-system", "istio-system"), Labels: some(injection, "enabled", "disabled")}
		if v := pick("-", "-", "default", "r1", "prod", "other"); v != "-" {
			w.namespace.Labels[revision] = v
		}
		w.pod.Labels = some(inject, "true", "false", "yes", "")
		if v := pick("-", "-", "-", "r1", "other"); v != "-" {
			w.pod.Labels[revision] = v
		}
		w.pod.Annotations = some(inject, "true", "false")
		w.pod.Spec.HostNetwork = random.IntN(10) == 0
		if random.IntN(4) == 0 {
			w.never = []metav1.LabelSelector{{MatchLabels: map[string]string{revision: "r1"}}}
		}
		for _, c := range installs {
			if random.IntN(2) == 0 {
				w.configs = append(w.configs, c)
			}
		}
		reasons[checkWalks(t, w.question(t))]++
	}
	for _, text := range policy.Reasons() {
		switch text.Reason {
		case policy.AlwaysSelected, policy.SelectorMismatch, policy.MultipleWebhooks, policy.RulesUnknown, policy.ConditionUnknown, policy.InvalidWebhook:
		default:
			if reasons[text.Reason] == 0 {
				t.Errorf("no world ended in %s", text.Reason)
			}
		}
	}
}

// checkWalks compares Explain, Settle, Decide and Why for one question.
func checkWalks(t *testing.T, q policy.Question) policy.Reason {
	t.Helper()
	e := policy.Explain(q)
	decision, by := policy.Settle(q)
	if diff := cmp.Diff(e.Decision, decision); diff != "" || (by == nil) != (e.Webhook == nil) {
		t.Fatalf("Settle differs from Explain: %s", diff)
	}
	if _, known := policy.Doc(decision.Reason); !known {
		t.Fatalf("reason %s has no text", decision.Reason)
	}
	var deciding []policy.Step
	for _, s := range e.Steps {
		if s.Outcome == policy.Refuses && (s.Remedy == "" || s.Found == "") {
			t.Fatalf("step without words: %+v", s)
		}
		if s.Gate == policy.Injector && (s.Outcome == policy.Refuses || s.Outcome == policy.Injects) {
			deciding = append(deciding, s)
		}
	}
	if e.Webhook == nil {
		if s := refusing(e); decision.Inject || s.Gate != policy.APIServer || s.Reason != decision.Reason {
			t.Fatalf("not called, yet %+v by %+v", decision, s)
		}
		return decision.Reason
	}
	rules, _ := q.RulesOf("")
	alone := policy.Decide(q.Pod, q.Namespace.Name, rules)
	if diff := cmp.Diff(alone, decision); diff != "" {
		t.Fatalf("Decide differs from Explain: %s", diff)
	}
	why := policy.Why(q.Pod, q.Namespace.Name, rules)
	why.Webhook = deciding[0].Webhook
	if diff := cmp.Diff(why, deciding[0]); diff != "" || why.Reason != alone.Reason {
		t.Fatalf("Why differs from the step that decides: %s", diff)
	}
	return decision.Reason
}

func TestDecideAllocatesNothing(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}}}
	rules := policy.Rules{Policy: policy.Enabled}
	if n := testing.AllocsPerRun(100, func() { policy.Decide(pod, "shop", rules) }); n != 0 {
		t.Errorf("Decide allocates %v times; want 0", n)
	}
}

func TestReasonsAreDocumentedOnce(t *testing.T) {
	seen := map[policy.Reason]bool{}
	for _, text := range policy.Reasons() {
		if seen[text.Reason] || text.Means == "" {
			t.Errorf("%s: twice, or without a meaning", text.Reason)
		}
		seen[text.Reason] = true
	}
	if len(seen) != 20 {
		t.Errorf("%d reasons; want 20", len(seen))
	}
	if _, ok := policy.Doc("Nonsense"); ok {
		t.Error("a word that is no reason has a text")
	}
}

func BenchmarkDecide(b *testing.B) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}}}
	rules := policy.Rules{Policy: policy.Enabled}
	b.ReportAllocs()
	for b.Loop() {
		policy.Decide(pod, "shop", rules)
	}
}

func BenchmarkSettle(b *testing.B) {
	hooks, _ := policy.Webhooks([]admissionv1.MutatingWebhookConfiguration{install("default", "", false), install("r1", "", false)})
	q := policy.Question{
		Pod:      &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}}},
		Webhooks: hooks, RulesOf: enabledEverywhere,
		Namespace: policy.Namespace{Name: "shop", Labels: map[string]string{injection: "enabled", "kubernetes.io/metadata.name": "shop"}},
	}
	b.ReportAllocs()
	for b.Loop() {
		policy.Settle(q)
	}
}
