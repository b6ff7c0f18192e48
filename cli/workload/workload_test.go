package workload

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

func TestParseRef(t *testing.T) {
	tests := []struct{ words, kind, name, namespace string }{
		{"web-1", "Pod", "web-1", ""},
		{"web-1.shop", "Pod", "web-1", "shop"},
		{"deploy/web", "Deployment", "web", ""},
		{"Deployments/web.shop", "Deployment", "web", "shop"},
		{"sts db", "StatefulSet", "db", ""},
		{"cj/report", "CronJob", "report", ""},
		{"rollout/web", "Rollout", "web", ""},
	}
	for _, tt := range tests {
		ref, err := ParseRef(strings.Fields(tt.words))
		if err != nil || ref.Kind.GVK.Kind != tt.kind || ref.Name != tt.name || ref.Namespace != tt.namespace {
			t.Errorf("ParseRef(%s) = %+v, %v; want %s %s in %q", tt.words, ref, err, tt.kind, tt.name, tt.namespace)
		}
	}
	for words, want := range map[string]string{
		"service/web":  `"service" makes no pods; write one of pod, deployment, daemonset,`,
		"deploy/":      `"deploy/" names no object`,
		"deploy/a/b":   `"deploy/a/b" names no object`,
		"deploy/.shop": `"deploy/.shop" names no object`,
	} {
		if _, err := ParseRef([]string{words}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("ParseRef(%s) = %v; want %s…", words, err, want)
		}
	}
}

// TestPod: which pods the objects make, and who they say they belong to. The owners are
// such that the injector finds the same workload as in a pod of the cluster.
func TestPod(t *testing.T) {
	template := "template: {metadata: {name: x, labels: {a: b}}, spec: {hostNetwork: true}}"
	tests := []struct{ text, owner string }{
		{"apiVersion: apps/v1\nkind: Deployment\nspec: {" + template + "}", "apps/v1 Deployment web"},
		{"apiVersion: apps/v1beta2\nkind: DaemonSet\nspec: {" + template + "}", "apps/v1beta2 DaemonSet web"},
		{"apiVersion: apps/v1\nkind: ReplicaSet\nspec: {" + template + "}", "apps/v1 ReplicaSet web"},
		{"apiVersion: apps/v1\nkind: StatefulSet\nspec: {" + template + "}", "apps/v1 StatefulSet web"},
		{"apiVersion: batch/v1\nkind: Job\nspec: {" + template + "}", "batch/v1 Job web"},
		{"apiVersion: batch/v1\nkind: CronJob\nspec: {jobTemplate: {spec: {" + template + "}}}", "batch/v1 CronJob web"},
		{"apiVersion: v1\nkind: ReplicationController\nspec: {" + template + "}", "v1 ReplicationController web"},
		{"apiVersion: apps.openshift.io/v1\nkind: DeploymentConfig\nspec: {" + template + "}", "v1 DeploymentConfig web"},
		{"apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nspec: {" + template + "}", "v1alpha1 Rollout web"},
	}
	for _, tt := range tests {
		object := read(t, tt.text+"\nmetadata: {name: web, namespace: shop}")
		kind, ok := Of(object)
		if !ok {
			t.Errorf("%s: not known", tt.text)
			continue
		}
		pod, ok, err := kind.Pod(object)
		if err != nil || !ok {
			t.Errorf("%s: %v, %v", tt.text, ok, err)
			continue
		}
		o := metav1.GetControllerOf(pod)
		if got := o.APIVersion + " " + o.Kind + " " + o.Name; got != tt.owner {
			t.Errorf("%s: owner %s; want %s", tt.text, got, tt.owner)
		}
		if pod.Name != "" || pod.GenerateName != "web-" || pod.Namespace != "shop" || pod.Labels["a"] != "b" || !pod.Spec.HostNetwork {
			t.Errorf("%s: pod %+v", tt.text, pod)
		}
	}
}

func TestPodItself(t *testing.T) {
	object := read(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec: {nodeName: one}\nstatus: {phase: Running}")
	kind, _ := Of(object)
	pod, ok, err := kind.Pod(object)
	if err != nil || !ok || pod.Name != "web" || pod.Namespace != "shop" || pod.Spec.NodeName != "one" || pod.Status.Phase != "" {
		t.Errorf("Pod = %+v, %v, %v", pod, ok, err)
	}
}

func TestNoPods(t *testing.T) {
	for _, text := range []string{
		"kind: Pod", "apiVersion: v1\nkind: Deployment", "apiVersion: a/b/c\nkind: Pod", "apiVersion: v1\nkind: Service", "a: b",
		"apiVersion: example.com/v1\nkind: Deployment",
	} {
		if kind, ok := Of(read(t, text)); ok {
			t.Errorf("Of(%q) = %s; want none", text, kind.GVK)
		}
	}
	rollout := read(t, "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nspec: {workloadRef: {name: web}}")
	kind, _ := Of(rollout)
	if _, ok, err := kind.Pod(rollout); ok || err != nil {
		t.Errorf("a Rollout without a template: %v, %v; want no pod", ok, err)
	}
	bad := read(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: 1}}}")
	kind, _ = Of(bad)
	if _, _, err := kind.Pod(bad); err == nil || !strings.HasPrefix(err.Error(), "read the pod template of Deployment web: ") ||
		!strings.Contains(err.Error(), "spec.containers") {
		t.Errorf("containers: 1: %v", err)
	}
}

func read(t *testing.T, text string) map[string]any {
	t.Helper()
	var object map[string]any
	if err := yaml.Unmarshal([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	return object
}

func TestTitle(t *testing.T) {
	for text, want := range map[string]string{
		"kind: Pod\nmetadata: {generateName: web-, namespace: shop}": "Pod shop/web",
		"kind: Pod\nmetadata: {name: web}":                           "Pod web",
		"kind: Pod":                                                  "Pod",
	} {
		if d := cmp.Diff(want, Title(read(t, text))); d != "" {
			t.Error(d)
		}
	}
}
