package scene

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// OnNodes runs a shell script on every node, in a pod that sees the node's processes, and
// returns what it printed there, by name of the node. The pod has no other rights.
func (s *Scene) OnNodes(ctx context.Context, namespace, script string) (map[string]string, error) {
	nodes, err := s.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	printed := map[string]string{}
	for i, node := range nodes.Items {
		pod := s.Sleeper(fmt.Sprintf("inspector-%d", i))
		pod.Spec.HostPID = true
		pod.Spec.NodeName = node.Name
		pod.Spec.RestartPolicy = corev1.RestartPolicyNever
		pod.Spec.Containers[0].Command = []string{"sh", "-c", script}
		if printed[node.Name], err = s.output(ctx, namespace, pod); err != nil {
			return nil, fmt.Errorf("look at the processes of node %s: %w", node.Name, err)
		}
	}
	return printed, nil
}

// output runs a pod to its end, removes it and returns what it printed.
func (s *Scene) output(ctx context.Context, namespace string, pod *corev1.Pod) (string, error) {
	pods := s.Client.CoreV1().Pods(namespace)
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	var phase corev1.PodPhase
	err := poll(ctx, "pod "+pod.Name, func(ctx context.Context) (bool, error) {
		p, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		phase = p.Status.Phase
		return phase == corev1.PodSucceeded || phase == corev1.PodFailed, nil
	})
	if err != nil {
		return "", err
	}
	text, err := s.Logs(ctx, namespace, pod.Name, pod.Spec.Containers[0].Name)
	if err != nil {
		return "", err
	}
	if phase == corev1.PodFailed {
		return "", fmt.Errorf("pod %s failed: %s", pod.Name, text)
	}
	return text, s.DeletePod(ctx, namespace, pod.Name)
}
