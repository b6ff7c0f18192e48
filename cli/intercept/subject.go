package intercept

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicemesh/sluice/cli/workload"
	"github.com/sluicemesh/sluice/internal/capture"
	"github.com/sluicemesh/sluice/internal/meta"
)

// pod reads the pod that a user names.
func (c *cluster) pod(ctx context.Context, ref workload.Ref) (*corev1.Pod, error) {
	pod, err := c.client.CoreV1().Pods(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("there is no pod %s in namespace %s; -n names another namespace", ref.Name, ref.Namespace)
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("read pod %s/%s: the right to get pods is needed: %w", ref.Namespace, ref.Name, err)
	case err != nil:
		return nil, fmt.Errorf("read pod %s/%s: %w", ref.Namespace, ref.Name, err)
	}
	return pod, nil
}

// examine finds out what a pod asks for, or why there is nothing to be looked at. The pod
// is not kept from being shared.
func examine(pod *corev1.Pod) (inspection, error) {
	title := "pod " + pod.Namespace + "/" + pod.Name
	_, injected := pod.Annotations[meta.Status]
	switch {
	case pod.Spec.HostNetwork:
		return inspection{}, fmt.Errorf("%s is on the network of its node: such pods are never captured", title)
	case !injected:
		return inspection{}, fmt.Errorf("%s is not injected, so nothing is captured; sluice explain-inject %s -n %s says why", title, pod.Name, pod.Namespace)
	case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
		return inspection{}, fmt.Errorf("%s has ended (phase %s), and its network with it", title, pod.Status.Phase)
	case pod.Spec.NodeName == "":
		return inspection{}, fmt.Errorf("%s is not on a node yet: kubectl describe pod %s -n %s says why", title, pod.Name, pod.Namespace)
	}
	proxy := find(pod, meta.ProxyContainer)
	if proxy == nil {
		return inspection{}, fmt.Errorf("%s has no container %s: it speaks xDS itself, and nothing is captured", title, meta.ProxyContainer)
	}
	in := inspection{pod: pod, image: proxy.Image}
	switch c := cmp.Or(find(pod, meta.InitContainer), find(pod, meta.ValidationContainer)); {
	case c == nil:
		in.args = []string{"-m", string(capture.None)}
	case c.Name == meta.InitContainer:
		in.image, in.env, in.args = c.Image, c.Env, wanted(c.Args)
	default:
		// The plug-in knows no resolv.conf: it captures all DNS or none.
		in.env, in.args = c.Env, append(wanted(c.Args), "--capture-all-dns")
	}
	return in, nil
}

// find returns a container of either list; nil if there is none.
func find(pod *corev1.Pod, name string) *corev1.Container {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		if i := slices.IndexFunc(list, func(c corev1.Container) bool { return c.Name == name }); i >= 0 {
			return &list[i]
		}
	}
	return nil
}

// wanted are the arguments of an init container that say what is captured: without the word
// that stands before them, and without what it is to do with the rules.
func wanted(args []string) []string {
	doing := []string{"--run-validation", "--skip-rule-apply", "--force-apply", "--reconcile", "--cleanup-only", "--log_as_json", "--log_output_level"}
	var out []string
	for i, arg := range args {
		flag, _, _ := strings.Cut(arg, "=")
		if (i == 0 && !strings.HasPrefix(arg, "-")) || slices.Contains(doing, flag) {
			continue
		}
		out = append(out, arg)
	}
	return out
}
