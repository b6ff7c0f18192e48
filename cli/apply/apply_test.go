package apply

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestDiagnose checks what is said of pods that are not ready.
func TestDiagnose(t *testing.T) {
	waiting := func(reason, message string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	}
	for _, tc := range []struct {
		name   string
		status corev1.PodStatus
		want   string
	}{
		{"just created", corev1.PodStatus{}, ""},
		{"starting", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "discovery", State: waiting("ContainerCreating", "")},
		}}, ""},
		{"no image", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "discovery", State: waiting("ErrImagePull", "not found")},
		}}, "container discovery: ErrImagePull: not found"},
		{"no image, no words", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "discovery", State: waiting("ErrImagePull", "")},
		}}, "container discovery: ErrImagePull"},
		{"crashes", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			Name: "discovery", RestartCount: 3, State: waiting("CrashLoopBackOff", "back-off 40s"),
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 2}},
		}}}, "container discovery: CrashLoopBackOff: back-off 40s (last exit code 2, 3 restarts)"},
		{"an init container ended badly", corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{
			Name: "istio-init", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: "no iptables"}},
		}}}, "container istio-init: exit code 1: no iptables"},
		{"an init container is done", corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{
			Name: "istio-init", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}},
		}}}, ""},
		{"nowhere to go", corev1.PodStatus{Conditions: []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes: insufficient cpu",
		}}}, "Unschedulable: 0/1 nodes: insufficient cpu"},
		{"not ready", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "discovery", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
		}}, "container discovery runs, but is not ready"},
		{"ready", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "discovery", Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
		}}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := diagnose(corev1.Pod{Status: tc.status}); got != tc.want {
				t.Errorf("diagnose = %q; want %q", got, tc.want)
			}
		})
	}
}
