package scene

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestAddress(t *testing.T) {
	for i, want := range map[int]string{
		0:           "198.18.0.0",
		258:         "198.18.1.2",
		1<<16 - 1:   "198.18.255.255",
		1 << 16:     "198.19.0.0",
		1<<17 - 1:   "198.19.255.255",
		1<<16 + 513: "198.19.2.1",
	} {
		if got := Address(i); got != want {
			t.Errorf("Address(%d) = %s, want %s", i, got, want)
		}
	}
}

func TestReady(t *testing.T) {
	for _, tt := range []struct {
		name       string
		conditions []corev1.PodCondition
		want       bool
	}{
		{"new", nil, false},
		{"scheduled", []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}, false},
		{"not yet", []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}, false},
		{"ready", []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}, {Type: corev1.PodReady, Status: corev1.ConditionTrue}}, true},
	} {
		pod := &corev1.Pod{Status: corev1.PodStatus{Conditions: tt.conditions}}
		if got := Ready(pod); got != tt.want {
			t.Errorf("%s: Ready = %t", tt.name, got)
		}
	}
}
