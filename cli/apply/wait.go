package apply

import (
	"context"
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluicemesh/sluice/cli/render"
	"github.com/sluicemesh/sluice/cli/terminal"
)

// condition returns what is still missing, "" when nothing is. An error ends the wait.
type condition func(ctx context.Context) (missing string, err error)

// until asks until nothing is missing. When time is up the error says what was.
func (a Applier) until(ctx context.Context, step *terminal.Step, c condition) error {
	missing := ""
	err := wait.PollUntilContextTimeout(ctx, poll, a.Timeout, true, func(ctx context.Context) (bool, error) {
		now, err := c(ctx)
		if err != nil {
			return false, err
		}
		missing = now
		step.Update(missing)
		return missing == "", nil
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted while waiting for %s: %w", missing, ctx.Err())
	case wait.Interrupted(err):
		return fmt.Errorf("not ready after %s: %s", a.Timeout, missing)
	default:
		return err
	}
}

func isDefinition(o *unstructured.Unstructured) bool {
	return o.GetKind() == "CustomResourceDefinition"
}

// waitDefinitions waits until the server serves the definitions among objects.
func (a Applier) waitDefinitions(ctx context.Context, objects []*unstructured.Unstructured, step *terminal.Step) error {
	for _, o := range objects {
		if !isDefinition(o) {
			continue
		}
		err := a.until(ctx, step, func(ctx context.Context) (string, error) {
			var crd apiextensionsv1.CustomResourceDefinition
			if err := a.Client.Get(ctx, client.ObjectKeyFromObject(o), &crd); err != nil {
				return "", fmt.Errorf("look for %s: %w", render.Name(o), err)
			}
			for _, c := range crd.Status.Conditions {
				if c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue {
					return "", nil
				}
			}
			return render.Name(o) + " is not served yet", nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// waitReady waits for the DaemonSets and Deployments among objects, then for the control plane to have put
// its root certificate into the webhooks: from then on it injects.
func (a Applier) waitReady(ctx context.Context, objects []*unstructured.Unstructured, step *terminal.Step) error {
	for _, kind := range []string{"DaemonSet", "Deployment", "MutatingWebhookConfiguration"} {
		for _, o := range objects {
			if o.GetKind() != kind || !runs(objects) {
				continue
			}
			err := a.until(ctx, step, func(ctx context.Context) (string, error) {
				missing, err := a.readiness(ctx, o)
				if missing != "" {
					missing = render.Name(o) + ": " + missing
				}
				return missing, err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// runs reports whether something among objects runs. Where nothing does, a webhook belongs to
// a control plane elsewhere, which reaches this cluster when it is told of it.
func runs(objects []*unstructured.Unstructured) bool {
	return slices.ContainsFunc(objects, func(o *unstructured.Unstructured) bool {
		return o.GetKind() == "Deployment" || o.GetKind() == "DaemonSet"
	})
}

// readiness says why an object is not ready, "" when it is or has no such state.
func (a Applier) readiness(ctx context.Context, o *unstructured.Unstructured) (string, error) {
	switch o.GetKind() {
	case "DaemonSet":
		var d appsv1.DaemonSet
		if err := a.Client.Get(ctx, client.ObjectKeyFromObject(o), &d); err != nil {
			return "", fmt.Errorf("look for %s: %w", render.Name(o), err)
		}
		return a.daemonSet(ctx, d)
	case "Deployment":
		var d appsv1.Deployment
		if err := a.Client.Get(ctx, client.ObjectKeyFromObject(o), &d); err != nil {
			return "", fmt.Errorf("look for %s: %w", render.Name(o), err)
		}
		return a.deployment(ctx, d)
	case "MutatingWebhookConfiguration":
		var c admissionv1.MutatingWebhookConfiguration
		if err := a.Client.Get(ctx, client.ObjectKeyFromObject(o), &c); err != nil {
			return "", fmt.Errorf("look for %s: %w", render.Name(o), err)
		}
		for _, w := range c.Webhooks {
			if len(w.ClientConfig.CABundle) == 0 && w.ClientConfig.Service != nil {
				return fmt.Sprintf("webhook %s has no caBundle yet; the control plane writes it", w.Name), nil
			}
		}
	}
	return "", nil
}

// deployment says why a Deployment is not rolled out, with the reason of its worst pod.
func (a Applier) deployment(ctx context.Context, d appsv1.Deployment) (string, error) {
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	s := d.Status
	if s.ObservedGeneration >= d.Generation && s.UpdatedReplicas >= want && s.AvailableReplicas >= want && s.Replicas == s.UpdatedReplicas {
		return "", nil
	}
	missing := fmt.Sprintf("%d of %d pods ready", min(s.AvailableReplicas, s.UpdatedReplicas), want)
	for _, c := range d.Status.Conditions {
		// Pods that could not even be created, as the injection webhook refused them.
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return missing + "; pods are refused: " + c.Message, nil
		}
	}
	reason, err := a.podReason(ctx, d.Namespace, d.Spec.Selector)
	if err != nil && !apierrors.IsNotFound(err) {
		return "", err
	}
	return strings.TrimSuffix(missing+"; "+reason, "; "), nil
}

// daemonSet says why a DaemonSet is not rolled out, with the reason of its worst pod.
func (a Applier) daemonSet(ctx context.Context, d appsv1.DaemonSet) (string, error) {
	s := d.Status
	if s.ObservedGeneration >= d.Generation && s.UpdatedNumberScheduled >= s.DesiredNumberScheduled && s.NumberAvailable >= s.DesiredNumberScheduled {
		return "", nil
	}
	missing := fmt.Sprintf("%d of %d pods ready", min(s.NumberAvailable, s.UpdatedNumberScheduled), s.DesiredNumberScheduled)
	reason, err := a.podReason(ctx, d.Namespace, d.Spec.Selector)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(missing+"; "+reason, "; "), nil
}
