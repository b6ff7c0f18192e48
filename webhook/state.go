package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/webhook/audit"
)

// state is what requests are answered from.
type state struct {
	settings atomic.Pointer[Settings] // nil until a valid configuration was read
	native   *native
	// namespaces is nil where their annotations do not count.
	namespaces *namespaces
	synced     atomic.Bool   // configuration, nodes, namespaces and ProxyConfigs were read once
	changed    chan struct{} // holds a value when settings were swapped; nil where nobody asks
}

// swap puts settings in force.
func (s *state) swap(settings *Settings) {
	s.settings.Store(settings)
	select {
	case s.changed <- struct{}{}:
	default: // a value is there already, or nobody asks
	}
}

// ServeHTTP answers whether reviews are answered: 200, or 503 with what is missing.
func (s *state) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if err := s.ready(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

func (s *state) ready() error {
	if !s.synced.Load() {
		return errors.New("the injector has not read its configuration and the cluster yet")
	}
	if s.settings.Load() == nil {
		return errors.New("the injector has no valid configuration, see the log")
	}
	return nil
}

// CacheOptions restricts the manager's cache to what the webhook reads; the caller puts it
// into its manager's cache.Options.ByObject, or something wider where others read more.
func CacheOptions(cfg Config) map[client.Object]cache.ByObject {
	cfg = cfg.withDefaults()
	return map[client.Object]cache.ByObject{
		&corev1.ConfigMap{}: {Namespaces: map[string]cache.Config{cfg.Namespace: {}}},
		&corev1.Node{}:      {Transform: trimNode},
		&corev1.Pod{}:       {Transform: audit.TrimPod},
		&admissionv1.MutatingWebhookConfiguration{}: {
			Label: labels.SelectorFromSet(labels.Set{meta.Revision: cfg.Revision}),
		},
	}
}

// trimNode drops what is large on a node and read by nobody: images, conditions, volumes.
func trimNode(obj any) (any, error) {
	node, ok := obj.(*corev1.Node)
	if !ok {
		return obj, nil
	}
	node.ManagedFields, node.Annotations = nil, nil
	node.Status = corev1.NodeStatus{Addresses: node.Status.Addresses, NodeInfo: node.Status.NodeInfo}
	return node, nil
}

// Reasons of Events about the configuration.
const (
	invalidConfig  = "InvalidInjectorConfig" // cannot be used, the previous one holds
	ignoredSetting = "IgnoredSetting"        // a part of it has no effect
)

// loader keeps state up to date with ConfigMaps, nodes, namespaces and ProxyConfigs.
type loader struct {
	cfg     Config
	state   *state
	metrics *injectionMetrics
	cache   cache.Cache
	client  client.Reader
	events  events.EventRecorder
	last    Source // what was read last, valid or not

	changed chan struct{}   // gets a value after changes of what load reads; of size 1
	retry   time.Duration   // how often a missing kind is looked for, 30 s when 0
	objects atomic.Bool     // the cluster has ProxyConfigs and they were read
	told    map[string]bool // problems of ProxyConfigs that were reported and still hold
}

// ctrlRunnable is a part that the manager starts on every replica.
type ctrlRunnable interface {
	Start(context.Context) error
	NeedLeaderElection() bool
}

// NeedLeaderElection says that every replica answers, leader or not.
func (l *loader) NeedLeaderElection() bool { return false }

// Start reads the configuration, then again at every change, until ctx ends.
func (l *loader) Start(ctx context.Context) error {
	l.changed = make(chan struct{}, 1)
	nodes, err := l.watchNodes(ctx)
	if err != nil {
		return err
	}
	namespaces, err := l.watchNamespaces(ctx)
	if err != nil {
		return err
	}
	if err := l.watchConfigMaps(ctx); err != nil {
		return err
	}
	found, err := l.watchProxyConfigs(ctx)
	if err != nil {
		return err
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), nodes, namespaces) {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.follow(ctx) })
	if !found {
		group.Go(func() error { return l.awaitProxyConfigs(ctx) })
	}
	return group.Wait()
}

// follow loads, and loads again whenever something changed.
func (l *loader) follow(ctx context.Context) error {
	for {
		if err := l.load(ctx); err != nil {
			return err // the cache alone was asked: only a bug gets here
		}
		l.state.synced.Store(true)
		select {
		case <-ctx.Done():
			return nil
		case <-l.changed:
		}
	}
}

// notify makes follow load again; one pending request is enough.
func (l *loader) notify() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// load reads the settings and what belongs to them.
func (l *loader) load(ctx context.Context) error {
	if err := l.loadSettings(ctx); err != nil {
		return err
	}
	return l.loadProxyConfigs(ctx)
}

// watchNodes follows the nodes where their versions count; the result reports whether all
// nodes were seen.
func (l *loader) watchNodes(ctx context.Context) (toolscache.InformerSynced, error) {
	if l.state.native.mode != nativeAuto {
		return func() bool { return true }, nil
	}
	informer, err := l.cache.GetInformer(ctx, &corev1.Node{})
	if err != nil {
		return nil, fmt.Errorf("watch nodes: %w", err)
	}
	set := func(obj any) {
		if node, ok := obj.(*corev1.Node); ok {
			l.state.native.set(node)
		}
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, obj any) { set(obj) },
		DeleteFunc: func(obj any) {
			if node, ok := last(obj).(*corev1.Node); ok {
				l.state.native.forget(node.Name)
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("watch nodes: %w", err)
	}
	return registration.HasSynced, nil
}

// watchConfigMaps makes changes of the two ConfigMaps known.
func (l *loader) watchConfigMaps(ctx context.Context) error {
	informer, err := l.cache.GetInformer(ctx, &corev1.ConfigMap{})
	if err != nil {
		return fmt.Errorf("watch config maps: %w", err)
	}
	_, err = informer.AddEventHandler(every(func(obj any) {
		m, ok := obj.(*corev1.ConfigMap)
		if ok && m.Namespace == l.cfg.Namespace && (m.Name == l.cfg.InjectorConfigMap || m.Name == l.cfg.MeshConfigMap) {
			l.notify()
		}
	}))
	if err != nil {
		return fmt.Errorf("watch config maps: %w", err)
	}
	return nil
}

// every calls changed with each object that is added, updated or deleted, as it is then.
func every(changed func(obj any)) toolscache.ResourceEventHandlerFuncs {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    changed,
		UpdateFunc: func(_, obj any) { changed(obj) },
		DeleteFunc: func(obj any) { changed(last(obj)) },
	}
}

// last is an object that is gone, as it was known last.
func last(obj any) any {
	if gone, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
		return gone.Obj
	}
	return obj
}

// loadSettings reads the ConfigMaps from the cache and swaps the settings. A configuration
// that cannot be used leaves the previous one in force, mesh, values and policy together,
// and is reported.
func (l *loader) loadSettings(ctx context.Context) error {
	mesh, err := l.configMap(ctx, l.cfg.MeshConfigMap)
	if err != nil {
		return err
	}
	injector, err := l.configMap(ctx, l.cfg.InjectorConfigMap)
	if err != nil {
		return err
	}
	src := Source{
		Mesh: mesh.Data["mesh"], Values: injector.Data["values"], Config: injector.Data["config"],
		Install: l.cfg.install(), Tag: l.cfg.Tag,
	}
	if src == l.last {
		return nil
	}
	l.last = src
	settings, err := NewSettings(src)
	if err != nil {
		l.metrics.config.WithLabelValues("rejected").Inc()
		l.cfg.Log.Error("injector configuration rejected, the previous one holds", "error", err,
			"previous", l.state.settings.Load() != nil)
		l.warn(injector, invalidConfig, err.Error())
		return nil
	}
	l.metrics.config.WithLabelValues("loaded").Inc()
	if previous := l.state.settings.Load(); previous != nil {
		settings.ProxyConfigs = previous.ProxyConfigs
	}
	l.state.swap(settings)
	for _, note := range settings.Notes {
		l.cfg.Log.Warn("a part of the injector configuration has no effect", "problem", note)
	}
	if len(settings.Notes) > 0 {
		l.warn(injector, ignoredSetting, strings.Join(settings.Notes, "\n"))
	}
	l.cfg.Log.Info("injector configuration loaded", "policy", settings.Rules.Policy, "revision", settings.Defaults.Revision)
	return nil
}

// configMap reads one ConfigMap; an absent one is empty, the built-in settings hold then.
func (l *loader) configMap(ctx context.Context, name string) (*corev1.ConfigMap, error) {
	m := &corev1.ConfigMap{}
	m.Namespace, m.Name = l.cfg.Namespace, name
	err := l.client.Get(ctx, client.ObjectKeyFromObject(m), m)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read config map %s/%s: %w", m.Namespace, m.Name, err)
	}
	return m, nil
}
