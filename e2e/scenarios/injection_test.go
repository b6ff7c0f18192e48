package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// workloads has one of each kind of workload. Those that stay sleep; those that end ask
// a service of the mesh first, and fail if it does not answer.
const workloads = `
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "* * * * *"
  concurrencyPolicy: Forbid
  jobTemplate:
    spec:
      backoffLimit: 0
      template:
        metadata: {labels: {app: ends}}
        spec:
          restartPolicy: Never
          containers:
          - name: sleep
            image: ghcr.io/sluicemesh/sleep:1.0
            imagePullPolicy: IfNotPresent
            command: [curl, -sSf, --max-time, "10", "http://demoappv10.default:8080/"]
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  backoffLimit: 0
  template:
    metadata: {labels: {app: ends}}
    spec:
      restartPolicy: Never
      containers:
      - name: sleep
        image: ghcr.io/sluicemesh/sleep:1.0
        imagePullPolicy: IfNotPresent
        command: [curl, -sSf, --max-time, "10", "http://demoappv10.default:8080/"]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: sleep, image: "ghcr.io/sluicemesh/sleep:1.0", imagePullPolicy: IfNotPresent, command: [sleep, infinity]}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: store}
spec:
  serviceName: store
  selector: {matchLabels: {app: store}}
  template:
    metadata: {labels: {app: store}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: sleep, image: "ghcr.io/sluicemesh/sleep:1.0", imagePullPolicy: IfNotPresent, command: [sleep, infinity]}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: node}
spec:
  selector: {matchLabels: {app: node}}
  template:
    metadata: {labels: {app: node}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: sleep, image: "ghcr.io/sluicemesh/sleep:1.0", imagePullPolicy: IfNotPresent, command: [sleep, infinity]}]
---
apiVersion: v1
kind: Pod
metadata: {name: bare}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: sleep, image: "ghcr.io/sluicemesh/sleep:1.0", imagePullPolicy: IfNotPresent, command: [sleep, infinity]}]
`

// TestInjection: pods of every kind, and injectors that go and come. The CronJob has until
// its next full minute while the rest is tried, but for the outage, in which it could not run.
func TestInjection(t *testing.T) {
	must(t, st.Namespace(t.Context(), "workloads", true))
	apply(t, "workloads", workloads)
	c := apiClient(t)
	t.Run("workloads", testWorkloads)
	t.Run("restart", func(t *testing.T) { testInjectorRestart(t, c) })
	t.Run("template", func(t *testing.T) { testTemplate(t, c) })
	t.Run("cron job", testCronJob)
	t.Run("down", func(t *testing.T) { testInjectorDown(t, c) })
}

// testWorkloads: every kind of workload is injected and works; what is to end ends.
func testWorkloads(t *testing.T) {
	const namespace = "workloads"
	must(t, st.Rollout(t.Context(), namespace, "deploy/web", "statefulset/store", "daemonset/node"))
	kubectl(t, "-n", namespace, "wait", "--for=condition=Ready", "pod/bare", "--timeout=60s")
	for _, target := range []string{"deploy/web", "statefulset/store", "daemonset/node", "pod/bare"} {
		eventually(t, func(ctx context.Context) error {
			out, err := st.Exec(ctx, namespace, target, "sleep", "curl", "-sS", "--max-time", "10", "-D", "-", "http://demoappv10.default:8080/")
			if err == nil && !strings.Contains(out, "x-envoy-upstream-service-time") {
				err = fmt.Errorf("the answer did not pass a proxy: %s", out)
			}
			return err
		})
	}
	kubectl(t, "-n", namespace, "wait", "--for=condition=Complete", "job/once", "--timeout=60s")
	wantOwners(t, namespace, "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "") // the bare pod has no owner
}

// teamTemplate is a user's own template, which is particular about its pods.
const teamTemplate = `
templates:
  team: |
    metadata:
      labels:
        {{- if not (isset .ObjectMeta.Labels "team") }}
        {{- fail "pods need a label team" }}
        {{- end }}
        front: "true"
`

// testTemplate: a pod whose template fails is refused with the template's line and words; one
// that is right gets what the template says, and its proxy.
func testTemplate(t *testing.T, c client.Client) {
	injector := &corev1.ConfigMap{}
	must(t, c.Get(t.Context(), client.ObjectKey{Namespace: "istio-system", Name: "istio-sidecar-injector"}, injector))
	former := injector.Data["config"]
	configure := func(ctx context.Context, config string) error {
		data, err := json.Marshal(map[string]any{"data": map[string]string{"config": config}})
		if err != nil {
			return err
		}
		return c.Patch(ctx, injector, client.RawPatch(types.MergePatchType, data))
	}
	must(t, configure(t.Context(), former+teamTemplate))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := configure(ctx, former); err != nil {
			t.Error(err)
		}
	})
	asks := map[string]string{"inject.istio.io/templates": "sidecar,team"}
	wantRefused(t, c, []admission{{name: "without a team", namespace: "default", annotations: asks}},
		`template team, line 4: executing "team" at <fail "pods need a label team">: error calling fail: pods need a label team [TemplateFailed]`)
	pod := admission{namespace: "default", labels: map[string]string{"team": "blue"}, annotations: asks}.pod()
	must(t, c.Create(t.Context(), pod, client.DryRunAll))
	if pod.Labels["front"] != "true" || pod.Annotations["sidecar.istio.io/status"] == "" {
		t.Errorf("labels %v, annotations %v; want the template's label and a proxy", pod.Labels, pod.Annotations)
	}
}

// testCronJob: the pod of a Job of a CronJob ends, too.
func testCronJob(t *testing.T) {
	kubectl(t, "-n", "workloads", "wait", "--for=jsonpath={.status.lastSuccessfulTime}", "cronjob/tick", "--timeout=90s")
	wantOwners(t, "workloads", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "")
}

// wantOwners looks at all pods of a namespace: each is injected, and they have these kinds
// of owners.
func wantOwners(t *testing.T, namespace string, want ...string) {
	t.Helper()
	out := kubectl(t, "-n", namespace, "get", "pods", "-o",
		`jsonpath={range .items[*]}{.metadata.ownerReferences[0].kind}/{.metadata.name} {.metadata.annotations.sidecar\.istio\.io/status}{"\n"}{end}`)
	kinds := map[string]bool{}
	for line := range strings.Lines(out) {
		kind, _, _ := strings.Cut(line, "/")
		kinds[kind] = true
		if !strings.Contains(line, "istio-proxy") {
			t.Errorf("not injected: %s", line)
		}
	}
	for _, kind := range want {
		if !kinds[kind] {
			t.Errorf("no pod of an owner %q:\n%s", kind, out)
		}
	}
}
