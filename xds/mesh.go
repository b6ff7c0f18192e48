package xds

import (
	"context"
	"fmt"
	"log/slog"

	meshv1alpha1 "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluicemesh/sluice/internal/meshconfig"
	"github.com/sluicemesh/sluice/xds/source"
)

// meshKey is the key of the mesh configuration in its ConfigMap.
const meshKey = "mesh"

// readMesh reads the mesh configuration once, at the start. Without the ConfigMap the
// defaults hold; an unreadable one is an error, because the trust domain in it must not be
// guessed. Fields that nobody knows are logged.
func readMesh(ctx context.Context, maps clientcorev1.ConfigMapInterface, name string, log *slog.Logger) (*meshv1alpha1.MeshConfig, error) {
	cm, err := maps.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return meshconfig.Default(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read configmap %s: %w", name, err)
	}
	mesh, unknown, err := meshconfig.Parse(cm.Data[meshKey])
	if err != nil {
		return nil, fmt.Errorf("configmap %s/%s, key %s: %w", cm.Namespace, name, meshKey, err)
	}
	logUnknown(log, name, unknown)
	return mesh, nil
}

func logUnknown(log *slog.Logger, name string, unknown []meshconfig.Unknown) {
	for _, u := range unknown {
		log.Warn("a field of the mesh configuration has no effect", "configmap", name, "problem", u.String())
	}
}

// watchMesh follows the ConfigMap afterwards. An update that cannot be read is logged and
// the previous configuration stays in force.
func watchMesh(ctx context.Context, c cache.Cache, cfg Config, l *loop) error {
	name := MeshConfigMap(cfg.Revision)
	_, err := source.Watch(ctx, c, []client.Object{&corev1.ConfigMap{}}, func(e source.Edit) {
		if e.Object.GetNamespace() != cfg.Namespace || e.Object.GetName() != name {
			return
		}
		text := ""
		if cm, ok := e.Object.(*corev1.ConfigMap); ok && !e.Deleted {
			text = cm.Data[meshKey]
		}
		mesh, unknown, err := meshconfig.Parse(text)
		if err != nil {
			cfg.Log.Error("mesh configuration cannot be read, the previous one stays", "configmap", name, "error", err)
			return
		}
		logUnknown(cfg.Log, name, unknown)
		l.queue.Do(func() { l.graph.SetMesh(source.Mesh(mesh, cfg.ClusterDomain)) })
	})
	if err != nil {
		return fmt.Errorf("watch configmap %s: %w", name, err)
	}
	return nil
}
