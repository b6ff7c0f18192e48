// Package xds is the control plane: it reads the cluster (source), compiles what each
// class of proxies gets (compile), serves it (serve), and signs certificates (ca).
//
// Run wires these and holds no logic of its own. The injection webhook shares its manager
// through Config.Extend; the two packages do not know each other.
package xds

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"time"

	"github.com/go-logr/logr"
	meshv1alpha1 "istio.io/api/mesh/v1alpha1"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/api"
	"github.com/sluicemesh/sluice/xds/auth"
	"github.com/sluicemesh/sluice/xds/ca"
	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/compile"
	"github.com/sluicemesh/sluice/xds/debug"
	"github.com/sluicemesh/sluice/xds/incr"
	"github.com/sluicemesh/sluice/xds/serve"
	"github.com/sluicemesh/sluice/xds/source"
)

// Config is what Run needs. All fields are required unless said otherwise.
type Config struct {
	// Namespace the control plane runs in, and its revision ("default" without one).
	Namespace, Revision string
	// ClusterDomain is the DNS suffix of Services, "cluster.local".
	ClusterDomain string
	// Addresses to listen at, "host:port" or ":port".
	PlainAddr, SecureAddr, MonitoringAddr, HealthAddr string
	WebhookPort                                       int
	// MaxConnectionAge is after how long a proxy's stream is closed so that proxies spread
	// over replicas again; 0 means never.
	MaxConnectionAge time.Duration
	// Linger is how long everything goes on after ctx ended, while others still send requests
	// here because the news has not reached every node; 0 means not at all.
	Linger  time.Duration
	Version string
	REST    *rest.Config
	Log     *slog.Logger
	// Cache is what Extend's parts ask of the manager's cache, by kind. May be nil.
	Cache map[client.Object]cache.ByObject
	// Extend sets up what else lives under the manager, before it starts: the webhook.
	// authority signs its serving certificate. May be nil.
	Extend func(mgr ctrl.Manager, authority *ca.Authority) error
}

// MeshConfigMap names the ConfigMap with the mesh configuration of a revision.
func MeshConfigMap(revision string) string { return withRevision("istio", revision) }

// withRevision appends a revision that is not the default one.
func withRevision(name, revision string) string {
	if revision == "" || revision == "default" {
		return name
	}
	return name + "-" + revision
}

// Run runs the control plane until ctx ends or a part of it fails. It listens only after
// the mesh configuration and the root certificate could be read, and serves proxies only
// after it has seen the whole cluster. On the way down it goes on for cfg.Linger, then the
// streams end first, then the informers.
func Run(ctx context.Context, cfg Config) error {
	logger := logr.FromSlogHandler(cfg.Log.Handler())
	ctrl.SetLogger(logger)
	clients, err := kubernetes.NewForConfig(cfg.REST)
	if err != nil {
		return fmt.Errorf("make API client: %w", err)
	}
	mesh, err := readMesh(ctx, clients.CoreV1().ConfigMaps(cfg.Namespace), MeshConfigMap(cfg.Revision), cfg.Log)
	if err != nil {
		return err
	}
	authority, err := ca.Load(ctx, clients.CoreV1().Secrets(cfg.Namespace), mesh.TrustDomain, time.Now)
	if err != nil {
		return fmt.Errorf("load root certificate: %w", err)
	}
	l, server := newLoop(mesh, cfg)
	mgr, err := newManager(cfg, logger, debug.Handlers(server, func() []problem.Problem { return append(slices.Clone(l.currentProblems()), server.Problems()...) }, cfg.Version))
	if err != nil {
		return err
	}
	synced, err := source.Watch(ctx, mgr.GetCache(), prototypes(), l.queue.Put)
	if err != nil {
		return fmt.Errorf("watch the cluster: %w", err)
	}
	l.synced = synced
	if err := watchMesh(ctx, mgr.GetCache(), cfg, l); err != nil {
		return err
	}
	if err := ca.Distribute(mgr, authority.Roots); err != nil {
		return fmt.Errorf("spread the root certificate: %w", err)
	}
	authenticator := auth.New(clients.AuthenticationV1().TokenReviews(), mesh.TrustDomain, time.Now)
	listeners := &grpcServers{cfg: cfg, xds: server, auth: authenticator, authority: authority}
	if err := addRunnables(mgr, l, listeners); err != nil {
		return err
	}
	if cfg.Extend != nil {
		if err := cfg.Extend(mgr, authority); err != nil {
			return err
		}
	}
	if err := mgr.AddReadyzCheck("cluster-read", l.ready); err != nil {
		return err
	}
	return mgr.Start(lingering(ctx, cfg.Linger))
}

// lingering is a context that ends later than ctx by d.
func lingering(ctx context.Context, d time.Duration) context.Context {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(d, cancel) })
	return late
}

// prototypes are empty objects of the kinds to watch.
func prototypes() []client.Object {
	var out []client.Object
	for _, k := range api.All() {
		out = append(out, k.New())
	}
	return out
}

// newManager makes the manager that runs everything: cache, webhook server, metrics and
// debug pages, readiness.
func newManager(cfg Config, logger logr.Logger, pages debug.Pages) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(networkingv1.AddToScheme(scheme))
	rootMaps := cache.Config{LabelSelector: labels.SelectorFromSet(labels.Set{ca.RootLabel: "true"})}
	mgr, err := ctrl.NewManager(cfg.REST, ctrl.Options{
		Scheme:                 scheme,
		Logger:                 logger,
		Cache:                  source.CacheOptions(cfg.Namespace, rootMaps, cfg.Cache),
		Metrics:                metricsserver.Options{BindAddress: cfg.MonitoringAddr, ExtraHandlers: pages},
		HealthProbeBindAddress: cfg.HealthAddr,
		ReadinessEndpointName:  "/ready",
		WebhookServer:          webhook.NewServer(webhook.Options{Port: cfg.WebhookPort}),
	})
	if err != nil {
		return nil, fmt.Errorf("make manager: %w", err)
	}
	return mgr, nil
}

// addRunnables hands the loop and the gRPC servers to the manager, which starts them after
// the cache and stops them before it.
func addRunnables(mgr ctrl.Manager, l *loop, listeners *grpcServers) error {
	for _, run := range []func(context.Context) error{l.run, listeners.run} {
		if err := mgr.Add(always(run)); err != nil {
			return fmt.Errorf("add to manager: %w", err)
		}
	}
	return nil
}

// always is a runnable that every replica runs, leader or not.
type always func(context.Context) error

// Start runs it.
func (a always) Start(ctx context.Context) error { return a(ctx) }

// NeedLeaderElection is false: proxies connect to any replica.
func (always) NeedLeaderElection() bool { return false }

// newLoop makes the loop with its graph, and the server it publishes to.
func newLoop(mesh *meshv1alpha1.MeshConfig, cfg Config) (*loop, *serve.Server) {
	l := &loop{
		queue:   source.NewQueue(),
		metrics: newLoopMetrics(metrics.Registry),
		log:     cfg.Log,
		kinds:   map[reflect.Type]string{},
	}
	for _, k := range api.All() {
		l.kinds[reflect.TypeOf(k.New())] = k.GVK.Kind
	}
	l.graph = compile.New(compile.Config{
		Mesh: source.Mesh(mesh, cfg.ClusterDomain),
		OnPanic: func(p incr.Panic) {
			l.metrics.panics.Inc()
			cfg.Log.Error("compiler panicked, the last good result is kept", "node", p.Node, "key", p.Key, "panic", p.Value, "stack", string(p.Stack))
		},
	})
	server := serve.New(serve.Config{
		Registrar: l,
		ClassOf:   class.Of,
		Ready:     func() bool { return l.started.Load() },
		Metrics:   serve.NewMetrics(metrics.Registry),
		Log:       cfg.Log,
		Now:       time.Now,
	})
	l.out = server
	return l, server
}
