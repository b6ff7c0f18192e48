// Package webhook is the admission webhook that injects proxies into pods.
//
// Setup binds it to a controller-runtime manager: the handler at /inject, the snapshot of
// the configuration, the nodes' versions, the serving certificate and the caBundle of the
// webhook configurations. A review is answered from memory: decode, then the pure calls
// policy.Decide, params.Resolve and render.Pod, then a JSON patch; nothing is read from
// disk or API on the way. Inject is the same without a server. The package writes nothing
// to the API server but caBundle fields and Events.
package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	networkingv1beta1 "istio.io/client-go/pkg/apis/networking/v1beta1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/sluicemesh/sluice/webhook/certs"
	"github.com/sluicemesh/sluice/webhook/notice"
	"github.com/sluicemesh/sluice/webhook/params"
)

// Authority signs the webhook's serving certificate and knows the roots that the API
// server is told to trust.
type Authority = certs.Authority

// Config configures the webhook. Empty fields have the defaults that their comments name.
type Config struct {
	Revision          string // "default"
	Namespace         string // where the control plane runs, "istio-system"
	ClusterDomain     string // "cluster.local"
	InjectorConfigMap string // "istio-sidecar-injector", with "-REVISION" unless default
	MeshConfigMap     string // "istio", with "-REVISION" unless default
	// NativeSidecars is ENABLE_NATIVE_SIDECARS: "auto" (default), "true"; anything else is false.
	NativeSidecars string
	// Platform is PLATFORM: on "openshift" the ids of the proxy come from annotations of the
	// namespace, and namespaces are watched.
	Platform string
	// Tag is the image tag where the values name none: the program's own version.
	Tag string
	// KeepBundles leaves the caBundle of the webhook configurations to somebody else.
	KeepBundles bool
	// Authority is required.
	Authority Authority
	// Stopping is closed when the process was told to stop, some time before everything ends:
	// callers are sent to other replicas from then on. May be nil.
	Stopping <-chan struct{}
	// Log is required.
	Log *slog.Logger
}

// openShift is the platform whose namespaces name the ids of their pods.
const openShift = "openshift"

func (c Config) withDefaults() Config {
	def := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	def(&c.Revision, "default")
	def(&c.Namespace, "istio-system")
	def(&c.ClusterDomain, "cluster.local")
	mesh, injector := ConfigMaps(c.Revision)
	def(&c.InjectorConfigMap, injector)
	def(&c.MeshConfigMap, mesh)
	def(&c.NativeSidecars, nativeAuto)
	def(&c.Tag, "latest")
	return c
}

// ConfigMaps returns the names of the ConfigMaps that a revision's settings are read from:
// the mesh's (key mesh) and the injector's (keys config and values).
func ConfigMaps(revision string) (mesh, injector string) {
	suffix := Config{Revision: revision}.suffix()
	return "istio" + suffix, "istio-sidecar-injector" + suffix
}

// suffix is what a revision appends to the names of its objects.
func (c Config) suffix() string {
	if c.Revision == "" || c.Revision == "default" {
		return ""
	}
	return "-" + c.Revision
}

// dnsNames lists the names under which the API server may call.
func (c Config) dnsNames() []string {
	service := "istiod" + c.suffix() + "." + c.Namespace
	names := []string{service + ".svc", service + ".svc." + c.ClusterDomain, service}
	if c.suffix() != "" {
		names = append(names, "istiod."+c.Namespace+".svc")
	}
	return names
}

func (c Config) install() params.Install {
	return params.Install{Revision: c.Revision, Namespace: c.Namespace, ClusterDomain: c.ClusterDomain, Platform: c.Platform}
}

// Setup adds the webhook to mgr, which must have been made with a webhook server of
// controller-runtime (its port is the webhook's) and with the caches of CacheOptions. It
// starts with the manager and makes its readiness check "webhook" pass when reviews are
// answered. It is called once per process.
func Setup(mgr ctrl.Manager, cfg Config) error {
	cfg = cfg.withDefaults()
	if cfg.Authority == nil || cfg.Log == nil {
		return errors.New("set up webhook: Authority and Log are required")
	}
	server, ok := mgr.GetWebhookServer().(*ctrlwebhook.DefaultServer)
	if !ok {
		return fmt.Errorf("set up webhook: the manager's webhook server is a %T", mgr.GetWebhookServer())
	}
	m, err := newMetrics(metrics.Registry)
	if err != nil {
		return fmt.Errorf("set up webhook metrics: %w", err)
	}
	serving := certs.NewServing(cfg.Authority, cfg.dnsNames(), cfg.Log)
	if err := networkingv1beta1.AddToScheme(mgr.GetScheme()); err != nil {
		return fmt.Errorf("set up webhook: %w", err)
	}
	st := &state{native: newNative(cfg.NativeSidecars), changed: make(chan struct{}, 1)}
	recorder := mgr.GetEventRecorder("sluice-webhook")
	notices := notice.NewBoard(recorder)
	if cfg.Platform == openShift {
		st.namespaces = &namespaces{annotations: map[string]map[string]string{}}
	}
	attach(server, &handler{state: st, metrics: m, log: cfg.Log, buffers: newBufferPool(), notices: notices, stopping: cfg.Stopping}, serving)
	server.Register("/ready", st)
	runnables := []ctrlRunnable{
		serving,
		&loader{
			cfg: cfg, state: st, metrics: m, cache: mgr.GetCache(), client: mgr.GetClient(),
			events: recorder,
		},
	}
	trusted := func() bool { return true }
	if !cfg.KeepBundles {
		bundle := &certs.Bundle{
			Authority: cfg.Authority, Client: mgr.GetClient(), Cache: mgr.GetCache(), Revision: cfg.Revision, Log: cfg.Log,
		}
		runnables, trusted = append(runnables, bundle), bundle.Tried
	}
	auditor, err := newAuditor(mgr, cfg, st)
	if err != nil {
		return fmt.Errorf("set up auditor: %w", err)
	}
	for _, r := range append(runnables, auditor) {
		if err := mgr.Add(r); err != nil {
			return fmt.Errorf("set up webhook: %w", err)
		}
	}
	if err := mgr.AddReadyzCheck("webhook", readiness(server, st, trusted)); err != nil {
		return fmt.Errorf("set up webhook readiness: %w", err)
	}
	return nil
}

// readiness passes when reviews are answered, and by somebody whom the API server trusts.
func readiness(server *ctrlwebhook.DefaultServer, st *state, trusted func() bool) healthz.Checker {
	return func(r *http.Request) error {
		if err := st.ready(); err != nil {
			return err
		}
		if !trusted() {
			return errors.New("the API server has not been told yet whom to trust")
		}
		return server.StartedChecker()(r)
	}
}

// attach puts the injector on a server.
func attach(server *ctrlwebhook.DefaultServer, h http.Handler, serving *certs.Serving) {
	server.Options.TLSOpts = append(server.Options.TLSOpts, func(t *tls.Config) {
		t.MinVersion = tls.VersionTLS12
		t.GetCertificate = serving.GetCertificate
	})
	server.Register(injectPath, h)
	server.Register(injectPath+"/", h)
}

// Serve answers reviews on server with settings that do not change, until ctx ends: the
// webhook that Setup makes, without a cluster around it and without Events. Of cfg it reads Authority and Log,
// which are required, and the names in the certificate. h takes the injector's place
// unless it is nil, so that something else can be measured on the same server.
func Serve(ctx context.Context, server *ctrlwebhook.DefaultServer, cfg Config, s *Settings, h http.Handler) error {
	cfg = cfg.withDefaults()
	if h == nil {
		m, err := newMetrics(prometheus.NewRegistry())
		if err != nil {
			return fmt.Errorf("serve injection: %w", err)
		}
		st := &state{native: newNative(cfg.NativeSidecars)}
		st.settings.Store(s)
		h = &handler{state: st, metrics: m, log: cfg.Log, buffers: newBufferPool()}
	}
	serving := certs.NewServing(cfg.Authority, cfg.dnsNames(), cfg.Log)
	attach(server, h, serving)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serving.Start(ctx) })
	group.Go(func() error { return server.Start(ctx) })
	return group.Wait()
}
