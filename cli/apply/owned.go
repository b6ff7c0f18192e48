package apply

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluicemesh/sluice/cli/render"
)

// kinds are those that an installation has objects of, in the order of their removal: first
// what the API server would call, then what runs, then what it ran with.
func kinds() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{
		{Group: "admissionregistration.k8s.io", Version: "v1", Kind: "MutatingWebhookConfiguration"},
		{Group: "admissionregistration.k8s.io", Version: "v1", Kind: "ValidatingAdmissionPolicyBinding"},
		{Group: "admissionregistration.k8s.io", Version: "v1", Kind: "ValidatingAdmissionPolicy"},
		{Group: "autoscaling", Version: "v2", Kind: "HorizontalPodAutoscaler"},
		{Group: "policy", Version: "v1", Kind: "PodDisruptionBudget"},
		{Group: "apps", Version: "v1", Kind: "DaemonSet"},
		{Group: "apps", Version: "v1", Kind: "Deployment"},
		{Group: "k8s.cni.cncf.io", Version: "v1", Kind: "NetworkAttachmentDefinition"},
		{Version: "v1", Kind: "Service"},
		{Group: "discovery.k8s.io", Version: "v1", Kind: "EndpointSlice"},
		{Version: "v1", Kind: "ConfigMap"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "RoleBinding"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "Role"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRoleBinding"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole"},
		{Version: "v1", Kind: "ServiceAccount"},
		{Version: "v1", Kind: "ResourceQuota"},
		{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"},
		{Version: "v1", Kind: "Namespace"},
	}
}

// owned lists the objects of installations in the order of kinds: those of one revision
// without the shared part Base, or all with revision "".
func (a Applier) owned(ctx context.Context, revision string) ([]*unstructured.Unstructured, error) {
	managed, err := labels.NewRequirement(render.LabelManaged, selection.Equals, []string{"Reconcile"})
	if err != nil {
		return nil, err
	}
	selector := labels.NewSelector().Add(*managed)
	if revision != "" {
		of, err := labels.NewRequirement(render.LabelRevision, selection.Equals, []string{revision})
		if err != nil {
			return nil, fmt.Errorf("revision: %w", err)
		}
		selector = selector.Add(*of)
	}
	var objects []*unstructured.Unstructured
	for _, gvk := range kinds() {
		found, err := a.list(ctx, gvk, client.MatchingLabelsSelector{Selector: selector})
		if err != nil {
			return nil, err
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

// list returns the metadata of objects of one kind that no other object owns; none when the
// server does not serve the kind.
func (a Applier) list(ctx context.Context, gvk schema.GroupVersionKind, opts ...client.ListOption) ([]*unstructured.Unstructured, error) {
	var l metav1.PartialObjectMetadataList
	l.SetGroupVersionKind(gvk)
	err := a.Client.List(ctx, &l, opts...)
	if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", gvk.Kind, err)
	}
	var objects []*unstructured.Unstructured
	for _, item := range l.Items {
		// What a controller derived, like the EndpointSlices of a Service, carries its labels
		// and goes with it.
		if len(item.OwnerReferences) > 0 {
			continue
		}
		o := &unstructured.Unstructured{}
		o.SetGroupVersionKind(gvk)
		o.SetName(item.Name)
		o.SetNamespace(item.Namespace)
		o.SetLabels(item.Labels)
		objects = append(objects, o)
	}
	return objects, nil
}

// Prune removes what an earlier installation of the revision had and the parts have not. It
// returns the names of what it removed.
func (a Applier) Prune(ctx context.Context, revision string, parts []render.Part) ([]string, error) {
	if revision == "" {
		revision = "default"
	}
	found, err := a.owned(ctx, revision)
	if err != nil {
		return nil, err
	}
	keep := map[string]bool{}
	for _, p := range parts {
		for _, o := range p.Objects {
			keep[render.Name(o)] = true
		}
	}
	found = slices.DeleteFunc(found, func(o *unstructured.Unstructured) bool { return keep[render.Name(o)] })
	return a.delete(ctx, found)
}

// blank is an empty object of o's kind.
func blank(o *unstructured.Unstructured) *unstructured.Unstructured {
	b := &unstructured.Unstructured{}
	b.SetGroupVersionKind(o.GroupVersionKind())
	return b
}
