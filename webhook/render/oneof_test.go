package render

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// TestOneForm: where a user gives the proxy a probe, a hook or a variable in another form
// than the injected one, the user's form alone is left, with the injected timings.
func TestOneForm(t *testing.T) {
	get := &corev1.HTTPGetAction{Path: "/healthz/ready", Port: intstr.FromInt32(15021)}
	tcp := &corev1.TCPSocketAction{Port: intstr.FromInt32(9000)}
	run := &corev1.ExecAction{Command: []string{"pilot-agent", "wait"}}
	field := &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}
	injected := corev1.Container{
		Name:           "istio-proxy",
		ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: get}, PeriodSeconds: 15},
		StartupProbe:   &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: get}, FailureThreshold: 600},
		Lifecycle:      &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: run}},
		Env:            []corev1.EnvVar{{Name: "POD_NAME", ValueFrom: field}, {Name: "CA_ADDR", Value: "a"}, {Name: "POD_IP", ValueFrom: field}},
	}
	before := *injected.DeepCopy()
	user := corev1.Container{
		Name:           "istio-proxy",
		ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: tcp}},
		StartupProbe:   &corev1.Probe{PeriodSeconds: 2},
		Lifecycle:      &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{TCPSocket: tcp}},
		Env:            []corev1.EnvVar{{Name: "POD_NAME", Value: "mine"}, {Name: "CA_ADDR", ValueFrom: field}, {Name: "POD_IP"}},
	}
	got := injected
	if err := overlay(&got, user); err != nil {
		t.Fatal(err)
	}
	want := corev1.Container{
		Name:           "istio-proxy",
		ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: tcp}, PeriodSeconds: 15},
		StartupProbe:   &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: get}, PeriodSeconds: 2, FailureThreshold: 600},
		Lifecycle:      &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{TCPSocket: tcp}},
		Env:            []corev1.EnvVar{{Name: "POD_NAME", Value: "mine"}, {Name: "CA_ADDR", ValueFrom: field}, {Name: "POD_IP", ValueFrom: field}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("merged (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, injected); diff != "" {
		t.Errorf("the injected container itself was changed:\n%s", diff)
	}
}
