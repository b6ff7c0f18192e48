package apply

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// podReason names the pod that keeps those of a selector from being ready, and why; "" when
// nothing is wrong yet.
func (a Applier) podReason(ctx context.Context, namespace string, of *metav1.LabelSelector) (string, error) {
	selector, err := metav1.LabelSelectorAsSelector(of)
	if err != nil {
		return "", fmt.Errorf("selector of pods in %s: %w", namespace, err)
	}
	var pods corev1.PodList
	err = a.Client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: selector})
	if err != nil {
		return "", fmt.Errorf("list pods in %s: %w", namespace, err)
	}
	// The newest first: it is the one that is being rolled out.
	slices.SortFunc(pods.Items, func(a, b corev1.Pod) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	for _, p := range pods.Items {
		if reason := diagnose(p); reason != "" && p.DeletionTimestamp == nil {
			return fmt.Sprintf("pod %s: %s", p.Name, reason), nil
		}
	}
	return "", nil
}

// diagnose says what is wrong with a pod, "" if it is ready or just starting.
func diagnose(p corev1.Pod) string {
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := s.State.Waiting; w != nil && w.Reason != "PodInitializing" && w.Reason != "ContainerCreating" {
			return trim(fmt.Sprintf("container %s: %s: %s", s.Name, w.Reason, w.Message)) + lastExit(s)
		}
		if e := s.State.Terminated; e != nil && e.ExitCode != 0 {
			return trim(fmt.Sprintf("container %s: exit code %d: %s", s.Name, e.ExitCode, e.Message))
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return trim(fmt.Sprintf("%s: %s", c.Reason, c.Message))
		}
	}
	for _, s := range p.Status.ContainerStatuses {
		if s.State.Running != nil && !s.Ready {
			return fmt.Sprintf("container %s runs, but is not ready", s.Name)
		}
	}
	return ""
}

// lastExit adds how a container that waits for its restart has ended.
func lastExit(s corev1.ContainerStatus) string {
	if e := s.LastTerminationState.Terminated; e != nil {
		return fmt.Sprintf(" (last exit code %d, %d restarts)", e.ExitCode, s.RestartCount)
	}
	return ""
}

// trim cuts the end that an empty message leaves.
func trim(s string) string {
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == ':') {
		s = s[:len(s)-1]
	}
	return s
}
