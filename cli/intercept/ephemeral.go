package intercept

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// program is where the proxy's image has it.
	program = "/usr/local/bin/sluice-init"
	// poll is how often a pod's status is read; a container takes about a second.
	poll = 200 * time.Millisecond
)

// notAdmitted says that the pod may not have a container with the rights that reading the
// kernel's rules takes.
type notAdmitted struct{ err error }

func (n *notAdmitted) Error() string {
	return fmt.Sprintf("an ephemeral container that may read the rules (root, NET_ADMIN, NET_RAW) is not admitted: %v", n.err)
}

func (n *notAdmitted) Unwrap() error { return n.err }

// ephemeral is the container that answers a question.
func (in inspection) ephemeral(q question) corev1.EphemeralContainer {
	no, root := false, int64(0)
	return corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name:            "sluice-" + q.verb + "-" + rand.String(5),
		Image:           in.image,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Command:         append([]string{program, q.verb}, in.args...),
		Args:            q.args,
		Env:             in.env,
		SecurityContext: &corev1.SecurityContext{
			RunAsUser: &root, RunAsGroup: &root, RunAsNonRoot: &no,
			Privileged: &no, AllowPrivilegeEscalation: &no,
			Capabilities: &corev1.Capabilities{
				Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_ADMIN", "NET_RAW"},
			},
		},
	}}
}

// inside asks in an ephemeral container.
func (c *cluster) inside(ctx context.Context, in inspection, q question) (answer, error) {
	container := in.ephemeral(q)
	if err := c.add(ctx, in.pod, container); err != nil {
		return answer{}, err
	}
	end, err := c.await(ctx, in.pod, container)
	if err != nil {
		return answer{}, err
	}
	pods := c.client.CoreV1().Pods(in.pod.Namespace)
	text, err := pods.GetLogs(in.pod.Name, &corev1.PodLogOptions{Container: container.Name}).DoRaw(ctx)
	if err != nil {
		return answer{}, fmt.Errorf("read what container %s said: the right to get pods/log is needed: %w", container.Name, err)
	}
	return answer{string(text), int(end.ExitCode), "ephemeral container " + container.Name}, nil
}

// add adds the container to the pod.
func (c *cluster) add(ctx context.Context, pod *corev1.Pod, container corev1.EphemeralContainer) error {
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"ephemeralContainers": []corev1.EphemeralContainer{container}}})
	if err != nil {
		return fmt.Errorf("write container %s: %w", container.Name, err)
	}
	_, err = c.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "ephemeralcontainers")
	switch {
	case err == nil:
		return nil
	case strings.Contains(err.Error(), `cannot patch resource "pods/ephemeralcontainers"`):
		return fmt.Errorf("add an ephemeral container to pod %s/%s: you lack the right to patch pods/ephemeralcontainers in this namespace: %w",
			pod.Namespace, pod.Name, err)
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		return &notAdmitted{err}
	}
	return fmt.Errorf("add an ephemeral container to pod %s/%s: %w", pod.Namespace, pod.Name, err)
}

// await waits until the container has ended.
func (c *cluster) await(ctx context.Context, pod *corev1.Pod, container corev1.EphemeralContainer) (*corev1.ContainerStateTerminated, error) {
	last := "the kubelet has not started it"
	var end *corev1.ContainerStateTerminated
	err := wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		now, err := c.client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return false, fmt.Errorf("read pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
		i := slices.IndexFunc(now.Status.EphemeralContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == container.Name })
		if i < 0 {
			return false, nil
		}
		state := now.Status.EphemeralContainerStatuses[i].State
		if w := state.Waiting; w != nil {
			last = strings.TrimSuffix(w.Reason+": "+w.Message, ": ")
		}
		end = state.Terminated
		return end != nil, nil
	})
	switch {
	case err == nil && end.Reason == "StartError", err == nil && end.Reason == "ContainerCannotRun":
		return nil, fmt.Errorf("image %s cannot run %s; --image names one of this version: %s", container.Image, program, end.Message)
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
		return nil, fmt.Errorf("container %s of pod %s/%s has not ended in time, --timeout allows more: %s", container.Name, pod.Namespace, pod.Name, last)
	}
	return end, err
}
