package scenarios

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// admission is one pod that is created while no injector runs.
type admission struct {
	name, namespace     string
	labels, annotations map[string]string
	hostNetwork         bool
}

// unmeshed are pods that no injector is asked about.
func unmeshed() []admission {
	const inject = "sidecar.istio.io/inject"
	return []admission{
		{name: "no mesh", namespace: "kube-public"},
		{name: "system", namespace: "kube-system"},
		{name: "control plane", namespace: "istio-system"},
		{name: "unlabelled", namespace: "plain"},
		{name: "opted out", namespace: "default", labels: map[string]string{inject: "false"}},
		{name: "opted out by annotation", namespace: "default", annotations: map[string]string{inject: "false"}},
		{name: "host network", namespace: "default", hostNetwork: true},
	}
}

// meshed are pods that must not run without a proxy.
func meshed() []admission {
	return []admission{
		{name: "of the mesh", namespace: "default"},
		{name: "opted in", namespace: "plain", labels: map[string]string{"sidecar.istio.io/inject": "true"}},
	}
}

// pod is the pod of an admission.
func (a admission) pod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "web-", Namespace: a.namespace, Labels: a.labels, Annotations: a.annotations},
		Spec: corev1.PodSpec{
			HostNetwork: a.hostNetwork,
			Containers:  []corev1.Container{{Name: "app", Image: "ghcr.io/sluicemesh/sleep:1.0"}},
		},
	}
}

// wantAdmitted creates the pods without keeping them.
func wantAdmitted(t *testing.T, c client.Client, pods []admission) {
	t.Helper()
	for _, a := range pods {
		if err := c.Create(t.Context(), a.pod(), client.DryRunAll); err != nil {
			t.Errorf("%s: %v", a.name, err)
		}
	}
}

// wantInjected waits until the pods get a proxy: the news of a new injector takes a moment.
func wantInjected(t *testing.T, c client.Client, pods []admission) {
	t.Helper()
	for _, a := range pods {
		eventually(t, func(ctx context.Context) error {
			pod := a.pod()
			err := c.Create(ctx, pod, client.DryRunAll)
			if err == nil && pod.Annotations["sidecar.istio.io/status"] == "" {
				err = fmt.Errorf("%s: not injected", a.name)
			}
			return err
		})
	}
}

// wantRefused waits until the pods are refused with a message.
func wantRefused(t *testing.T, c client.Client, pods []admission, message string) {
	t.Helper()
	for _, a := range pods {
		eventually(t, func(ctx context.Context) error {
			if err := c.Create(ctx, a.pod(), client.DryRunAll); err == nil || !strings.Contains(err.Error(), message) {
				return fmt.Errorf("%s: create = %v; want %q", a.name, err, message)
			}
			return nil
		})
	}
}

// apiClient talks to the API server without kubectl's start-up time.
func apiClient(t *testing.T) client.Client {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", st.Kubeconfig)
	must(t, err)
	config.QPS = -1
	c, err := client.New(config, client.Options{})
	must(t, err)
	return c
}

// testInjectorDown: without an injector only pods of the mesh are refused, in both modes;
// with the guard a pod may break the glass.
func testInjectorDown(t *testing.T, c client.Client) {
	must(t, st.Namespace(t.Context(), "plain", false))
	kubectl(t, "label", "namespace", "plain", "istio-injection-")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := st.Install(ctx); err != nil {
			t.Error(err)
		}
		out, err := st.Kubectl(ctx, "get", "validatingadmissionpolicies,validatingadmissionpolicybindings", "-l", "app=sidecar-injector", "-o", "name")
		if err != nil || out != "" {
			t.Errorf("the guard is still there: %s, %v", out, err)
		}
	})
	stop := func() {
		kubectl(t, "-n", "istio-system", "scale", "deploy/istiod", "--replicas=0")
		kubectl(t, "-n", "istio-system", "wait", "--for=delete", "pod", "-l", "app=istiod", "--timeout=60s")
	}
	broken := meshed()
	for i := range broken {
		broken[i].annotations = map[string]string{"sluicemesh.io/break-glass": "INC-1: the injector is down"}
	}
	stop()
	wantRefused(t, c, append(meshed(), broken...), "failed calling webhook")
	wantAdmitted(t, c, unmeshed())

	must(t, st.Install(t.Context(), "values.sidecarInjectorWebhook.breakGlass.enabled=true"))
	wantInjected(t, c, meshed())
	stop()
	wantRefused(t, c, meshed(), `or let it run without a proxy: annotate it with sluicemesh.io/break-glass: "<reason>" [NotInjected]`)
	wantAdmitted(t, c, unmeshed())
	wantAdmitted(t, c, broken)
	if warnings := kubectl(t, "get", "validatingadmissionpolicies", "-o", "jsonpath={.items[*].status.typeChecking.expressionWarnings}"); warnings != "" {
		t.Errorf("the API server warns about the guard: %s", warnings)
	}
}

// admissionTime are the totals of the API server's own clock around the injector.
var admissionTime = regexp.MustCompile(
	`(?m)^apiserver_admission_webhook_admission_duration_seconds_(sum|count)\{name="namespace\.sidecar-injector\.istio\.io",operation="CREATE",rejected="false",type="admit"\} (\S+)$`)

// admissions are how many pods the API server sent to the injector so far, and how long it
// waited for the answers.
type admissions struct {
	count int
	total time.Duration
}

// since is the mean of those after before.
func (a admissions) since(before admissions) time.Duration {
	return (a.total - before.total) / time.Duration(max(a.count-before.count, 1))
}

func injections(t *testing.T) (a admissions) {
	t.Helper()
	for _, m := range admissionTime.FindAllStringSubmatch(kubectl(t, "get", "--raw", "/metrics"), -1) {
		v, err := strconv.ParseFloat(m[2], 64)
		must(t, err)
		if m[1] == "count" {
			a.count = int(v)
		} else {
			a.total = time.Duration(v * float64(time.Second))
		}
	}
	return a
}

// testInjectorRestart: while two replicas are replaced one after the other, no pod is
// refused and none is left without its proxy.
func testInjectorRestart(t *testing.T, c client.Client) {
	t.Cleanup(func() { kubectlLater(t, "-n", "istio-system", "scale", "deploy/istiod", "--replicas=1") })
	kubectl(t, "-n", "istio-system", "scale", "deploy/istiod", "--replicas=2")
	must(t, st.Rollout(t.Context(), "istio-system", "deploy/istiod"))
	old := strings.Fields(kubectl(t, "-n", "istio-system", "get", "pods", "-l", "app=istiod", "-o", "name"))
	if len(old) != 2 {
		t.Fatalf("%d replicas (%v); want 2", len(old), old)
	}
	quiet := injections(t)
	for range 200 {
		must(t, c.Create(t.Context(), admission{namespace: "default"}.pod(), client.DryRunAll))
	}
	before := injections(t)
	t.Logf("the API server waited %s for an injection, one at a time", before.since(quiet))

	var created, failed atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	group := errgroup.Group{}
	for range 2 {
		group.Go(func() error {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				pod := admission{namespace: "default"}.pod()
				if err := c.Create(t.Context(), pod, client.DryRunAll); err != nil {
					// A review may cross the end of its connection, and the API server sends none twice.
					failed.Add(1)
					if !strings.HasSuffix(err.Error(), ": EOF") {
						t.Errorf("pod refused: %v", err)
					}
				} else if pod.Annotations["sidecar.istio.io/status"] == "" {
					failed.Add(1)
					t.Error("pod without proxy")
				}
				created.Add(1)
				<-tick.C
			}
			return nil
		})
	}
	kubectl(t, "-n", "istio-system", "rollout", "restart", "deploy/istiod")
	err := st.Rollout(t.Context(), "istio-system", "deploy/istiod")
	if err == nil { // the replicas of before are still on their way out
		_, err = st.Kubectl(t.Context(), append([]string{"-n", "istio-system", "wait", "--for=delete", "--timeout=60s"}, old...)...)
	}
	cancel()
	must(t, group.Wait())
	must(t, err)
	after := injections(t)
	t.Logf("%d pods created during the restart, %d failed; the API server waited %s for an injection", created.Load(), failed.Load(), after.since(before))
	if failed.Load()*200 > created.Load() {
		t.Errorf("%d of %d pods failed; want at most one in 200", failed.Load(), created.Load())
	}
	if created.Load() < 100 || after.count-before.count < 100 {
		t.Errorf("%d pods created, %d injected: nothing is tested", created.Load(), after.count-before.count)
	}
}
