package source

import (
	"context"
	"fmt"

	networkingv1beta1 "istio.io/client-go/pkg/apis/networking/v1beta1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/sluicemesh/sluice/webhook/params"
)

// proxyConfigs reads the ProxyConfig objects, as the webhook follows them; root is the
// namespace whose objects hold for the whole mesh.
func (s *Source) proxyConfigs(ctx context.Context, root string) (*params.ProxyConfigs, error) {
	if s.client == nil {
		return nil, nil
	}
	var list networkingv1beta1.ProxyConfigList
	err := s.client.List(ctx, &list)
	switch {
	case apimeta.IsNoMatchError(err) || apierrors.IsNotFound(err):
		return nil, nil // the cluster has no such kind
	case apierrors.IsForbidden(err):
		s.note("the ProxyConfig objects may not be listed: they are left out")
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("list proxy configs: %w", err)
	}
	index, problems := params.IndexProxyConfigs(list.Items, root)
	for _, p := range problems {
		s.note("%s", p)
	}
	return index, nil
}

// namespaces reads the annotations of namespaces where they count, which is on OpenShift.
func (s *Source) namespaces(ctx context.Context, d *params.Defaults) (map[string]map[string]string, error) {
	if s.client == nil || !d.ReadsNamespaces() {
		return nil, nil
	}
	var list corev1.NamespaceList
	err := s.client.List(ctx, &list)
	if apierrors.IsForbidden(err) {
		s.note("the namespaces may not be listed: user and group of the proxy may differ from what the webhook chooses")
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	out := map[string]map[string]string{}
	for i := range list.Items {
		out[list.Items[i].Name] = list.Items[i].Annotations
	}
	return out, nil
}
