package source

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluicemesh/sluice/cli/workload"
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
