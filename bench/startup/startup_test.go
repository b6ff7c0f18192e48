package startup

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const metrics = `# HELP apiserver_admission_webhook_admission_duration_seconds [STABLE] Latency.
# TYPE apiserver_admission_webhook_admission_duration_seconds histogram
apiserver_admission_webhook_admission_duration_seconds_bucket{name="object.sidecar-injector.istio.io",operation="CREATE",type="admit",le="0.005"} 3
apiserver_admission_webhook_admission_duration_seconds_bucket{name="object.sidecar-injector.istio.io",operation="CREATE",type="admit",le="0.025"} 5
apiserver_admission_webhook_admission_duration_seconds_bucket{name="object.sidecar-injector.istio.io",operation="CREATE",type="admit",le="+Inf"} 6
apiserver_admission_webhook_admission_duration_seconds_sum{name="object.sidecar-injector.istio.io",operation="CREATE",type="admit"} 0.06
apiserver_admission_webhook_admission_duration_seconds_count{name="object.sidecar-injector.istio.io",operation="CREATE",type="admit"} 6
apiserver_admission_webhook_admission_duration_seconds_bucket{name="namespace.sidecar-injector.istio.io",operation="CREATE",type="admit",le="0.005"} 1
apiserver_admission_webhook_admission_duration_seconds_bucket{name="namespace.sidecar-injector.istio.io",operation="CREATE",type="admit",le="+Inf"} 1
apiserver_admission_webhook_admission_duration_seconds_sum{name="namespace.sidecar-injector.istio.io",operation="CREATE",type="admit"} 0.004
apiserver_admission_webhook_admission_duration_seconds_count{name="namespace.sidecar-injector.istio.io",operation="CREATE",type="admit"} 1
apiserver_admission_webhook_admission_duration_seconds_sum{name="policy.example.com",operation="CREATE",type="admit"} 9
apiserver_admission_webhook_admission_duration_seconds_count{name="policy.example.com",operation="CREATE",type="admit"} 9
apiserver_admission_webhook_admission_duration_seconds_sum{name="object.sidecar-injector.istio.io",operation="UPDATE",type="admit"} 9
apiserver_admission_webhook_admission_duration_seconds_count{name="object.sidecar-injector.istio.io",operation="UPDATE",type="admit"} 9
`

func TestParseAdmission(t *testing.T) {
	got, err := parseAdmission([]byte(metrics))
	if err != nil {
		t.Fatal(err)
	}
	want := Admission{Calls: 7, Total: 64 * time.Millisecond, Below: map[string]uint64{"0.005": 4, "0.025": 5, "+Inf": 7}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parseAdmission (-want +got):\n%s", diff)
	}
	if got, err := parseAdmission([]byte("{")); err == nil {
		t.Errorf("text that is no metrics gave %+v", got)
	}
}

func TestAdmissionSince(t *testing.T) {
	before := Admission{Calls: 7, Total: 64 * time.Millisecond, Below: map[string]uint64{"0.005": 4, "0.025": 5}}
	after := Admission{Calls: 17, Total: 104 * time.Millisecond, Below: map[string]uint64{"0.005": 12, "0.025": 15, "0.1": 15}}
	got := after.since(before).table()
	if diff := cmp.Diff([][]string{{"10", "4.00", "8", "10", "15"}}, got.Rows); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([][]string{{"0", "none", "0", "0", "0"}}, after.since(after).table().Rows); diff != "" {
		t.Errorf("table without calls (-want +got):\n%s", diff)
	}
}

func TestTook(t *testing.T) {
	const text = `time=2026-01-02T03:04:05.133Z level=INFO msg="rules loaded and verified" family=IPv4 took=1ms
time=2026-01-02T03:04:05.142Z level=INFO msg="interception is as configured" mode=REDIRECT cleanup=false took=36.10303ms
`
	const structured = `{"time":"2026-01-02T03:04:05.142Z","msg":"interception is as configured","mode":"REDIRECT","took":4500000}
`
	for _, tt := range []struct {
		name, log string
		want      time.Duration
	}{
		{"text", text, 36103030 * time.Nanosecond},
		{"JSON", structured, 4500 * time.Microsecond},
		{"the last of two runs", text + structured, 4500 * time.Microsecond},
	} {
		if got, err := took(tt.log); err != nil || got != tt.want {
			t.Errorf("%s: took = %s, %v, want %s", tt.name, got, err, tt.want)
		}
	}
	if got, err := took("level=ERROR msg=\"no\"\n"); err == nil || !strings.Contains(err.Error(), "level=ERROR") {
		t.Errorf("took of a log without it = %s, %v; want an error that shows the log", got, err)
	}
}

// status is a pod with an init container that ran for two seconds (or not yet), a proxy and
// the condition Ready.
func status(initOver, proxyReady bool, ready corev1.ConditionStatus) *corev1.Pod {
	pod := &corev1.Pod{}
	ran := corev1.ContainerStatus{Name: "istio-init"}
	if initOver {
		begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		ran.State.Terminated = &corev1.ContainerStateTerminated{StartedAt: metav1.NewTime(begin), FinishedAt: metav1.NewTime(begin.Add(2 * time.Second))}
	}
	pod.Status.InitContainerStatuses = []corev1.ContainerStatus{ran, {Name: "istio-proxy", Ready: proxyReady}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
	return pod
}

func TestTake(t *testing.T) {
	var got times
	for i, step := range []struct {
		pod  *corev1.Pod
		done bool
	}{
		{status(false, false, corev1.ConditionFalse), false},
		{status(true, false, corev1.ConditionFalse), false},
		{status(true, true, corev1.ConditionFalse), false},
		{status(true, true, corev1.ConditionTrue), true},
	} {
		if done := got.take(step.pod, time.Duration(i+1)*time.Second); done != step.done {
			t.Errorf("step %d: take = %t, want %t", i, done, step.done)
		}
	}
	want := times{initOver: 2 * time.Second, proxyReady: 3 * time.Second, ready: 4 * time.Second, initRan: 2 * time.Second}
	if got != want {
		t.Errorf("times = %+v, want %+v", got, want)
	}
}

func TestAddRefusesWhatIsNotComparable(t *testing.T) {
	proxied, bare := times{ready: 2, proxyReady: 1}, times{ready: 1}
	var r Result
	if err := r.add(proxied, proxied); err == nil {
		t.Error("a pod with a proxy passed for one without")
	}
	if err := r.add(bare, bare); err == nil {
		t.Error("a pod without a proxy passed for one with it")
	}
	if err := r.add(bare, proxied); err != nil || len(r.Plain) != 1 || len(r.Rules) != 0 {
		t.Errorf("a proxy without an init container: %v, %+v", err, r)
	}
}
