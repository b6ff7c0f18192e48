package webhook

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluicemesh/sluice/webhook/policy"
)

// auditPods makes the API server log requests for pods.
const auditPods = `
apiVersion: audit.k8s.io/v1
kind: Policy
rules: [{level: Metadata, resources: [{group: "", resources: [pods]}]}]
`

// nobody is an address at which no injector answers.
const nobody = "https://127.0.0.1:1/inject"

// TestGuard: with the injector down and break-glass on, the API server refuses the pods that
// the injector would have injected, and no others.
func TestGuard(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(auditPods), 0o600); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "audit.log")
	config := startAPIServer(t, "audit-policy-file", filepath.Join(dir, "policy.yaml"), "audit-log-path", log)
	config.QPS = -1
	c := newClient(t, config)
	for name, labels := range map[string]map[string]string{
		"plain": nil, "meshed": {"istio-injection": "enabled"}, "tagged": {"istio.io/rev": "prod"},
		"other": {"istio.io/rev": "r2"}, "istio-system": {"istio-injection": "enabled"},
	} {
		create(t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}})
	}
	system := &corev1.Namespace{}
	if err := c.Get(t.Context(), client.ObjectKey{Name: "kube-system"}, system); err != nil {
		t.Fatal(err)
	}
	system.Labels["istio-injection"] = "enabled"
	if err := c.Update(t.Context(), system); err != nil {
		t.Fatal(err)
	}
	made := guard(t, c, map[string]any{})
	t.Run("rules", func(t *testing.T) { testGuardRules(t, c) })
	t.Run("message", func(t *testing.T) { testGuardMessage(t, c) })
	t.Run("audit", func(t *testing.T) { testGuardAudit(t, c, log) })
	unguard(t, c, made)

	// Selectors in all their forms, for both policies.
	selectors := map[string]any{
		"neverInjectSelector": []any{
			map[string]any{"matchLabels": map[string]any{"a": "1", "b": "1"}},
			map[string]any{},
			map[string]any{"matchExpressions": []any{
				map[string]any{"key": "c", "operator": "In", "values": []any{"1", "2"}}, map[string]any{"key": "d", "operator": "Exists"},
			}},
		},
		"alwaysInjectSelector": []any{
			map[string]any{"matchLabels": map[string]any{"e": "1"}, "matchExpressions": []any{
				map[string]any{"key": "a", "operator": "NotIn", "values": []any{"2"}}, map[string]any{"key": "f", "operator": "DoesNotExist"},
			}},
		},
	}
	for _, autoInject := range []string{"enabled", "disabled", "junk"} {
		t.Run(autoInject, func(t *testing.T) {
			values := map[string]any{"global": map[string]any{"proxy": map[string]any{"autoInject": autoInject}}, "sidecarInjectorWebhook": selectors}
			made := guard(t, c, values)
			testGuardSelectors(t, c, rulesOf(t, values))
			unguard(t, c, made)
		})
	}
}

// guard installs the chart's configuration with break-glass on and nobody behind it, and
// waits until the API server acts on it.
func guard(t *testing.T, c client.Client, values map[string]any) []client.Object {
	t.Helper()
	injector, _ := values["sidecarInjectorWebhook"].(map[string]any)
	if injector == nil {
		injector = map[string]any{}
		values["sidecarInjectorWebhook"] = injector
	}
	injector["breakGlass"] = map[string]any{"enabled": true}
	values["istiodRemote"] = map[string]any{"injectionURL": nobody}
	values["revisionTags"] = []any{"prod"}
	var made []client.Object
	for _, o := range chart(t, values) {
		if _, settings := o.(*corev1.ConfigMap); settings {
			continue
		}
		create(t, c, o)
		made = append(made, o)
	}
	if len(made) != 2+1+6 {
		t.Fatalf("%d objects; want 2 configurations, a policy and 6 bindings", len(made))
	}
	known := fmt.Sprint(autoInject(values)) != "junk" // an unknown policy injects nobody
	waitForGuard(t, c, known)
	return made
}

// unguard removes what guard made and waits until the API server has forgotten it.
func unguard(t *testing.T, c client.Client, made []client.Object) {
	t.Helper()
	remove(t, c, made)
	waitForGuard(t, c, false)
}

func waitForGuard(t *testing.T, c client.Client, acts bool) {
	t.Helper()
	explicit := map[string]string{"sidecar.istio.io/inject": "true"}
	for _, namespace := range []string{"meshed", "tagged"} {
		waitFor(t, fmt.Sprintf("guard of %s: %t", namespace, acts), func() bool { return refused(t, c, plainPod(namespace, explicit)) == acts })
	}
}

func autoInject(values map[string]any) any {
	global, _ := values["global"].(map[string]any)
	proxy, _ := global["proxy"].(map[string]any)
	return proxy["autoInject"]
}

// rulesOf are the injector's rules, from the chart's own ConfigMap.
func rulesOf(t *testing.T, values map[string]any) policy.Rules {
	t.Helper()
	for _, o := range chart(t, values) {
		if m, ok := o.(*corev1.ConfigMap); ok && m.Data["config"] != "" {
			settings, err := NewSettings(Source{Config: m.Data["config"], Values: m.Data["values"], Install: Config{}.withDefaults().install()})
			if err != nil {
				t.Fatal(err)
			}
			return settings.Rules
		}
	}
	t.Fatal("the chart renders no configuration of the injector")
	return policy.Rules{}
}

// refused reports whether the guard refuses a pod; other errors fail the test.
func refused(t *testing.T, c client.Client, pod *corev1.Pod) bool {
	t.Helper()
	err := c.Create(t.Context(), pod.DeepCopy(), client.DryRunAll)
	if err != nil && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "[NotInjected]")) {
		t.Fatalf("create: %v", err)
	}
	return err != nil
}

func testGuardRules(t *testing.T, c client.Client) {
	const inject, glass = "sidecar.istio.io/inject", "sluicemesh.io/break-glass"
	type set = map[string]string
	for name, tc := range map[string]struct {
		namespace           string
		labels, annotations set
		host                bool
		want                bool
	}{
		"of the mesh":                        {namespace: "meshed", want: true},
		"by tag":                             {namespace: "tagged", want: true},
		"by label":                           {namespace: "plain", labels: set{inject: "true"}, want: true},
		"by revision label":                  {namespace: "plain", labels: set{"istio.io/rev": "default"}, want: true},
		"by tag label":                       {namespace: "plain", labels: set{"istio.io/rev": "prod"}, want: true},
		"odd label":                          {namespace: "meshed", labels: set{inject: "yes"}, want: true},
		"label wins over annotation":         {namespace: "meshed", labels: set{inject: ""}, annotations: set{inject: "false"}, want: true},
		"control plane's, asks":              {namespace: "istio-system", labels: set{inject: "true"}, want: true},
		"no mesh":                            {namespace: "plain"},
		"annotation in a plain namespace":    {namespace: "plain", annotations: set{inject: "true"}},
		"another revision's":                 {namespace: "other"},
		"label of another revision":          {namespace: "plain", labels: set{"istio.io/rev": "r2"}},
		"opted out by label":                 {namespace: "meshed", labels: set{inject: "false"}},
		"opted out by annotation":            {namespace: "meshed", annotations: set{inject: "false"}},
		"host network":                       {namespace: "meshed", host: true},
		"host network, asks":                 {namespace: "meshed", labels: set{inject: "true"}, host: true},
		"system namespace":                   {namespace: "kube-system"},
		"system namespace, asks":             {namespace: "kube-system", labels: set{inject: "true"}},
		"control plane's":                    {namespace: "istio-system"},
		"injected":                           {namespace: "meshed", annotations: set{"sidecar.istio.io/status": "{}"}},
		"broken glass":                       {namespace: "meshed", annotations: set{glass: "INC-1: the injector is down"}},
		"broken glass without a reason":      {namespace: "meshed", annotations: set{glass: ""}, want: true},
		"broken glass with blanks as reason": {namespace: "meshed", annotations: set{glass: "  "}, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			pod := plainPod(tc.namespace, tc.labels)
			pod.Annotations = tc.annotations
			pod.Spec.HostNetwork = tc.host
			if got := refused(t, c, pod); got != tc.want {
				t.Errorf("refused = %t; want %t", got, tc.want)
			}
		})
	}
}

// testGuardMessage: the refusal names the pod, the reason and both ways out.
func testGuardMessage(t *testing.T, c client.Client) {
	pod := plainPod("meshed", nil)
	pod.GenerateName, pod.Name = "", "web-1"
	const want = `pods "web-1" is forbidden: ValidatingAdmissionPolicy 'sluice-injection-guard' with binding 'sluice-injection-guard-namespace' denied request: ` +
		`Pod meshed/web-1 belongs to the mesh and was not injected: the injector did not answer. ` +
		`Create it again when deployment/istiod in namespace istio-system is available, ` +
		`or let it run without a proxy: annotate it with sluicemesh.io/break-glass: "<reason>" [NotInjected]`
	if err := c.Create(t.Context(), pod, client.DryRunAll); err == nil || err.Error() != want {
		t.Errorf("create = %v\nwant %s", err, want)
	}
	pod.Annotations = map[string]string{"sluicemesh.io/break-glass": ""}
	if err := c.Create(t.Context(), pod, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "Its annotation sluicemesh.io/break-glass gives no reason. Create it") {
		t.Errorf("create with an empty reason = %v", err)
	}
}

// testGuardAudit: the audit log has who broke the glass and why, and nothing about others.
func testGuardAudit(t *testing.T, c client.Client, log string) {
	pod := plainPod("meshed", nil)
	pod.GenerateName, pod.Name = "", "broken-1"
	pod.Annotations = map[string]string{"sluicemesh.io/break-glass": " INC-1: the injector is down "}
	other := plainPod("plain", nil)
	other.GenerateName, other.Name = "", "plain-1"
	other.Annotations = pod.Annotations
	for _, p := range []*corev1.Pod{pod, other} {
		if err := c.Create(t.Context(), p, client.DryRunAll); err != nil {
			t.Fatal(err)
		}
	}
	const want = `"sluice-injection-guard/break-glass":"Pod meshed/broken-1 runs without a proxy: INC-1: the injector is down"`
	var text string
	waitFor(t, "line about plain-1", func() bool {
		data, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		text = string(data)
		return strings.Contains(text, "plain-1")
	})
	if !strings.Contains(text, want) {
		t.Errorf("the audit log lacks %s", want)
	}
	if strings.Contains(text, "Pod plain/plain-1 runs") {
		t.Error("the audit log has a pod that is none of the mesh")
	}
}

// testGuardSelectors: the selectors in CEL mean what they mean to the injector, over all
// pods whose labels they tell apart.
func testGuardSelectors(t *testing.T, c client.Client, rules policy.Rules) {
	refusals := 0
	for i := range 3 * 2 * 2 * 2 * 2 * 2 * 3 {
		labels := map[string]string{}
		pick := func(key string, values ...string) {
			if v := values[i%len(values)]; v != "" {
				labels[key] = v
			}
			i /= len(values)
		}
		pick("a", "", "1", "2")
		pick("b", "", "1")
		pick("c", "", "2")
		pick("d", "", "x")
		pick("e", "", "1")
		pick("f", "", "x")
		pick("sidecar.istio.io/inject", "", "true", "no")
		pod := plainPod("meshed", labels)
		want := policy.Decide(pod, "meshed", rules).Inject
		if got := refused(t, c, pod); got != want {
			t.Errorf("labels %v: refused = %t; the injector would have injected: %t", labels, got, want)
		}
		if want {
			refusals++
		}
	}
	if known := rules.Policy == policy.Enabled || rules.Policy == policy.Disabled; known && (refusals < 50 || refusals > 250) || !known && refusals != 0 {
		t.Errorf("%d refusals of 288: the cases tell nothing", refusals)
	}
}
