package source

import (
	"context"
	"errors"
	"fmt"

	networkingv1beta1 "istio.io/client-go/pkg/apis/networking/v1beta1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluicemesh/sluice/cli/workload"
	"github.com/sluicemesh/sluice/webhook/params"
)

// ErrNoCluster is the error of questions that only a cluster answers.
var ErrNoCluster = errors.New("there is no cluster to ask")

// Object reads an object of the cluster as a tree.
func (s *Source) Object(ctx context.Context, ref workload.Ref) (map[string]any, error) {
	name := ref.Kind.GVK.Kind + " " + s.NamespaceOf(ref) + "/" + ref.Name
	if s.client == nil {
		return nil, fmt.Errorf("read %s: %w", name, ErrNoCluster)
	}
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(ref.Kind.GVK)
	if err := s.client.Get(ctx, client.ObjectKey{Namespace: s.NamespaceOf(ref), Name: ref.Name}, o); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return o.Object, nil
}

// NamespaceOf is the namespace that a user means.
func (s *Source) NamespaceOf(ref workload.Ref) string {
	if ref.Namespace != "" {
		return ref.Namespace
	}
	return s.target.DefaultNamespace()
}

// proxyConfigs reads the ProxyConfig objects; nil where there are none. The mistakes in them
// are notes, as they are not the pod's.
func (s *Source) proxyConfigs(ctx context.Context, root string) (*params.ProxyConfigs, error) {
	var list networkingv1beta1.ProxyConfigList
	err := s.client.List(ctx, &list)
	switch {
	case apimeta.IsNoMatchError(err), apierrors.IsNotFound(err):
		return nil, nil
	case apierrors.IsForbidden(err):
		s.note("ProxyConfig objects may not be listed: taken as none")
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("list ProxyConfig objects: %w", err)
	}
	index, problems := params.IndexProxyConfigs(list.Items, root)
	for _, p := range problems {
		s.note("warning: %s", p)
	}
	return index, nil
}

// annotations reads those of a namespace; none for one that does not exist yet or is not
// known.
func (s *Source) annotations(ctx context.Context, namespace string) (map[string]string, error) {
	if namespace == "" {
		return nil, nil
	}
	n := &corev1.Namespace{}
	if err := s.client.Get(ctx, client.ObjectKey{Name: namespace}, n); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read namespace %s: %w", namespace, err)
	}
	return n.Annotations, nil
}
