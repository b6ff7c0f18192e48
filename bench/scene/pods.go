package scene

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	readyLimit = 2 * time.Minute
	pollPeriod = 200 * time.Millisecond
)

// Namespace makes a namespace of the measurements, with injection or without, and returns
// once pods can be made in it. One that is there is an error: two runs at once would measure
// each other. remove takes it away with all that is in it and waits for that; it works after
// ctx has ended.
func (s *Scene) Namespace(ctx context.Context, name string, injected bool) (remove func() error, err error) {
	label := "disabled"
	if injected {
		label = "enabled"
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"istio-injection": label}}}
	switch _, err := s.Client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); {
	case apierrors.IsAlreadyExists(err):
		return nil, fmt.Errorf("namespace %s is there: wait for the run that uses it, or delete what a killed run left", name)
	case err != nil:
		return nil, fmt.Errorf("make namespace %s: %w", name, err)
	}
	remove = func() error { return s.removeNamespace(context.WithoutCancel(ctx), name) }
	// Pods wait for both: the account at admission, the root certificate when volumes are mounted.
	err = poll(ctx, "namespace "+name, func(ctx context.Context) (bool, error) {
		_, account := s.Client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		_, root := s.Client.CoreV1().ConfigMaps(name).Get(ctx, "istio-ca-root-cert", metav1.GetOptions{})
		return account == nil && (root == nil || !injected), nil
	})
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	return remove, nil
}

func (s *Scene) removeNamespace(ctx context.Context, name string) error {
	namespaces := s.Client.CoreV1().Namespaces()
	if err := namespaces.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove namespace %s: %w", name, err)
	}
	return poll(ctx, "removal of namespace "+name, func(ctx context.Context) (bool, error) {
		_, err := namespaces.Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
}

// poll waits for a condition, readyLimit at most.
func poll(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	if err := wait.PollUntilContextTimeout(ctx, pollPeriod, readyLimit, true, done); err != nil {
		return fmt.Errorf("wait for %s: %w", what, err)
	}
	return nil
}

// Sleeper is a pod that does nothing, which stops at once.
func (s *Scene) Sleeper(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: new(int64(0)),
			Containers: []corev1.Container{{
				Name: "sleep", Image: s.image, ImagePullPolicy: corev1.PullIfNotPresent, Command: []string{"sleep", "infinity"},
			}},
		},
	}
}

// RunPod makes a pod and waits until it is ready.
func (s *Scene) RunPod(ctx context.Context, namespace string, pod *corev1.Pod) error {
	pods := s.Client.CoreV1().Pods(namespace)
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make pod %s/%s: %w", namespace, pod.Name, err)
	}
	return poll(ctx, fmt.Sprintf("pod %s/%s", namespace, pod.Name), func(ctx context.Context) (bool, error) {
		p, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		return err == nil && Ready(p), err
	})
}

// DeletePod deletes a pod and waits until it is gone from its node.
func (s *Scene) DeletePod(ctx context.Context, namespace, name string) error {
	pods := s.Client.CoreV1().Pods(namespace)
	if err := pods.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete pod %s/%s: %w", namespace, name, err)
	}
	return poll(ctx, fmt.Sprintf("end of pod %s/%s", namespace, name), func(ctx context.Context) (bool, error) {
		_, err := pods.Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
}

// Ready reports whether all containers of a pod are ready, native sidecars among them.
func Ready(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// Logs is all that a container printed so far.
func (s *Scene) Logs(ctx context.Context, namespace, pod, container string) (string, error) {
	stream, err := s.Client.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Container: container}).Stream(ctx)
	if err != nil {
		return "", fmt.Errorf("read log of %s in pod %s/%s: %w", container, namespace, pod, err)
	}
	defer stream.Close()
	text, err := io.ReadAll(stream)
	if err != nil {
		return "", fmt.Errorf("read log of %s in pod %s/%s: %w", container, namespace, pod, err)
	}
	return string(text), nil
}
