package apply

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluicemesh/sluice/cli/render"
)

// rootConfigMap is what the control plane writes into every namespace.
const rootConfigMap = "istio-ca-root-cert"

// signingSecret is the control plane's own key and certificate.
const signingSecret = "istio-ca-secret"

// Removal is what an uninstallation removes.
type Removal struct {
	// Revision, if not empty, limits it to one control plane and its gateways; the
	// definitions stay.
	Revision string
	// Namespace is the control plane's.
	Namespace string
	// Definitions are names of definitions that go even when another tool installed them.
	// They are only removed with all revisions, and all custom resources with them.
	Definitions []string
}

// Plan lists what a removal is about to remove, apart from what the control plane wrote.
func (a Applier) Plan(ctx context.Context, r Removal) ([]*unstructured.Unstructured, error) {
	objects, err := a.owned(ctx, r.Revision)
	if err != nil || r.Revision != "" {
		return objects, err
	}
	present := map[string]bool{}
	for _, o := range objects {
		present[render.Name(o)] = true
	}
	gvk := schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}
	all, err := a.list(ctx, gvk)
	if err != nil {
		return nil, err
	}
	named := map[string]bool{}
	for _, name := range r.Definitions {
		named[name] = true
	}
	for _, o := range all {
		if named[o.GetName()] && !present[render.Name(o)] {
			objects = append(objects, o)
		}
	}
	return objects, nil
}

// Remove removes planned objects, and without a revision also what the control plane wrote:
// the root certificates in all namespaces and its signing key. With Wait it returns when
// all is gone.
func (a Applier) Remove(ctx context.Context, r Removal, planned []*unstructured.Unstructured) error {
	step := a.Printer.Start("Removing")
	err := a.remove(ctx, r, planned, func(s string) { step.Update(s) })
	if err == nil && a.Wait {
		err = a.until(ctx, step, func(ctx context.Context) (string, error) { return a.remains(ctx, r) })
	}
	if err != nil {
		step.Fail("Removal failed")
		return err
	}
	step.Done("Removal complete")
	return nil
}

func (a Applier) remove(ctx context.Context, r Removal, planned []*unstructured.Unstructured, update func(string)) error {
	var namespaces, others []*unstructured.Unstructured
	for _, o := range planned {
		if o.GetKind() == "Namespace" {
			namespaces = append(namespaces, o)
		} else {
			others = append(others, o)
		}
	}
	update(fmt.Sprintf("%d objects", len(others)))
	if _, err := a.delete(ctx, others); err != nil {
		return err
	}
	if r.Revision != "" {
		return nil
	}
	// A control plane that is still stopping would write these again.
	if err := a.controlPlaneGone(ctx, r.Namespace); err != nil {
		return err
	}
	update("what the control plane wrote")
	written, err := a.list(ctx, corev1.SchemeGroupVersion.WithKind("ConfigMap"), client.MatchingFields{"metadata.name": rootConfigMap})
	if err != nil {
		return err
	}
	secret := &unstructured.Unstructured{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	secret.SetNamespace(r.Namespace)
	secret.SetName(signingSecret)
	if _, err := a.delete(ctx, append(written, secret)); err != nil {
		return err
	}
	update("namespaces")
	_, err = a.delete(ctx, namespaces)
	return err
}

// controlPlaneGone waits until no pod of the control plane is left.
func (a Applier) controlPlaneGone(ctx context.Context, namespace string) error {
	step := a.Printer.Start("Stopping the control plane")
	err := a.until(ctx, step, func(ctx context.Context) (string, error) {
		var pods corev1.PodList
		err := a.Client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{"app": "istiod"})
		if err != nil {
			return "", fmt.Errorf("list pods of the control plane: %w", err)
		}
		if len(pods.Items) == 0 {
			return "", nil
		}
		return "pod " + pods.Items[0].Name + " is stopping", nil
	})
	if err != nil {
		step.Fail("The control plane does not stop")
		return err
	}
	step.Done("Control plane stopped")
	return nil
}

// remains names an object that is still there.
func (a Applier) remains(ctx context.Context, r Removal) (string, error) {
	left, err := a.Plan(ctx, r)
	if err != nil || len(left) == 0 {
		return "", err
	}
	return fmt.Sprintf("%d objects are left, %s among them", len(left), render.Name(left[0])), nil
}

// delete removes objects; one that is not there counts as removed by somebody else. It
// returns the names of those it removed.
func (a Applier) delete(ctx context.Context, objects []*unstructured.Unstructured) ([]string, error) {
	var names []string
	for _, o := range objects {
		err := a.Client.Delete(ctx, o, client.PropagationPolicy(metav1.DeletePropagationBackground))
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return names, fmt.Errorf("delete %s: %w", render.Name(o), err)
		}
		names = append(names, render.Name(o))
	}
	return names, nil
}
