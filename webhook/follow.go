package webhook

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	networkingv1beta1 "istio.io/client-go/pkg/apis/networking/v1beta1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/webhook/params"
)

// namespaces knows the annotations of namespaces that the injector reads.
type namespaces struct {
	mu          sync.RWMutex
	annotations map[string]map[string]string // by namespace; the maps are not modified
}

// of returns the annotations of one namespace; nil where they do not count or the
// namespace is not known.
func (n *namespaces) of(name string) map[string]string {
	if n == nil {
		return nil
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.annotations[name]
}

// set records a namespace.
func (n *namespaces) set(namespace *corev1.Namespace) {
	kept := map[string]string{}
	for _, key := range []string{meta.OpenShiftUIDs, meta.OpenShiftGroups} {
		if v, ok := namespace.Annotations[key]; ok {
			kept[key] = v
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.annotations[namespace.Name] = kept
}

// forget removes a namespace that is gone.
func (n *namespaces) forget(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.annotations, name)
}

// watchNamespaces follows the namespaces where their annotations count; the result reports
// whether all were seen.
func (l *loader) watchNamespaces(ctx context.Context) (toolscache.InformerSynced, error) {
	known := l.state.namespaces
	if known == nil {
		return func() bool { return true }, nil
	}
	informer, err := l.cache.GetInformer(ctx, &corev1.Namespace{})
	if err != nil {
		return nil, fmt.Errorf("watch namespaces: %w", err)
	}
	set := func(obj any) {
		if namespace, ok := obj.(*corev1.Namespace); ok {
			known.set(namespace)
		}
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, obj any) { set(obj) },
		DeleteFunc: func(obj any) {
			if namespace, ok := last(obj).(*corev1.Namespace); ok {
				known.forget(namespace.Name)
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("watch namespaces: %w", err)
	}
	return registration.HasSynced, nil
}

// watchProxyConfigs follows the ProxyConfig objects and returns when all were seen; found
// is false where the cluster has no such kind.
func (l *loader) watchProxyConfigs(ctx context.Context) (found bool, err error) {
	informer, err := l.cache.GetInformer(ctx, &networkingv1beta1.ProxyConfig{}, cache.BlockUntilSynced(false))
	if apimeta.IsNoMatchError(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("watch proxy configs: %w", err)
	}
	registration, err := informer.AddEventHandler(every(func(any) { l.notify() }))
	if err != nil {
		return false, fmt.Errorf("watch proxy configs: %w", err)
	}
	if toolscache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		l.objects.Store(true)
	}
	return true, nil
}

// awaitProxyConfigs looks for the kind until it is there, since charts may be installed in
// any order.
func (l *loader) awaitProxyConfigs(ctx context.Context) error {
	pause := l.retry
	if pause == 0 {
		pause = 30 * time.Second
	}
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		found, err := l.watchProxyConfigs(ctx)
		if err != nil {
			l.cfg.Log.Warn("look for the kind ProxyConfig", "error", err)
		}
		if found {
			l.notify()
			return nil
		}
	}
}

// loadProxyConfigs reads the objects from the cache and swaps them into the settings. What
// is wrong with one is told once, on the object.
func (l *loader) loadProxyConfigs(ctx context.Context) error {
	settings := l.state.settings.Load()
	if settings == nil || !l.objects.Load() {
		return nil
	}
	var list networkingv1beta1.ProxyConfigList
	if err := l.client.List(ctx, &list); err != nil {
		return fmt.Errorf("list proxy configs: %w", err)
	}
	index, problems := params.IndexProxyConfigs(list.Items, settings.Defaults.Mesh.RootNamespace)
	if index != nil || settings.ProxyConfigs != nil {
		next := *settings
		next.ProxyConfigs = index
		l.state.swap(&next)
	}
	objects := map[client.ObjectKey]*networkingv1beta1.ProxyConfig{}
	for _, object := range list.Items {
		objects[client.ObjectKeyFromObject(object)] = object
	}
	told := map[string]bool{}
	for _, p := range problems {
		text := p.String()
		if told[text] = true; !l.told[text] {
			l.cfg.Log.Warn("a proxy config is wrong", "problem", text)
			l.warn(objects[client.ObjectKey{Namespace: p.Namespace, Name: p.Name}], p.Reason, p.Path+": "+p.Message)
		}
	}
	l.told = told
	return nil
}

// maxNote is how long the API server lets the note of an Event be, in bytes.
const maxNote = 1024

// warn puts an Event on an object.
func (l *loader) warn(object runtime.Object, reason, note string) {
	if len(note) > maxNote {
		note = strings.ToValidUTF8(note[:maxNote-len("…")], "") + "…"
	}
	l.events.Eventf(object, nil, corev1.EventTypeWarning, reason, "LoadConfig", "%s", note)
}
