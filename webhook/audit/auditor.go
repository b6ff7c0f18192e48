package audit

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluicemesh/sluice/webhook/notice"
	"github.com/sluicemesh/sluice/webhook/policy"
)

const (
	// gather is how long changes are gathered before they are looked at.
	gather = time.Second
	// sayAgain is when Events are tried again that the rate held back.
	sayAgain = 10 * time.Second
	// afresh is when everything is looked at even if nothing seems to have changed.
	afresh = 10 * time.Minute
)

// Cache is the part of the manager's cache that is used.
type Cache interface {
	GetInformer(ctx context.Context, obj client.Object, opts ...cache.InformerGetOption) (cache.Informer, error)
	Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error
	List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error
}

// Config says what an Auditor works with. All fields are required.
type Config struct {
	// Cache knows pods, namespaces and the webhook configurations of the own revision and its
	// tags.
	Cache Cache
	// Revision returns the settings of a revision's injector; false for any but the own one.
	Revision func(name string) (Revision, bool)
	// Changed gets a value after the settings changed.
	Changed <-chan struct{}
	// Lead runs its argument while this replica is the one that audits, again and again
	// until the context ends; it waits for the argument to return.
	Lead    func(ctx context.Context, audit func(context.Context) error) error
	Notices *notice.Board
	Log     *slog.Logger
}

// Auditor is a runnable of the manager. It needs no leader election of the manager's: it
// brings its own, because losing it must not end the process.
type Auditor struct {
	cfg    Config
	gauges gauges
}

// New makes an auditor and registers its gauges.
func New(cfg Config, registry prometheus.Registerer) (*Auditor, error) {
	a := &Auditor{cfg: cfg, gauges: newGauges()}
	for _, g := range []prometheus.Collector{a.gauges.uninjected, a.gauges.outdated} {
		if err := registry.Register(g); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return a, nil
}

// NeedLeaderElection is false: see Auditor.
func (a *Auditor) NeedLeaderElection() bool { return false }

// Start audits while this replica leads, until ctx ends.
func (a *Auditor) Start(ctx context.Context) error { return a.cfg.Lead(ctx, a.audit) }

// round is one time of leading.
type round struct {
	*Auditor
	pending  *pending
	ledger   *ledger
	webhooks []policy.Webhook
}

// audit follows the cluster until ctx ends.
func (a *Auditor) audit(ctx context.Context) error {
	r := &round{Auditor: a, pending: newPending(), ledger: newLedger(a.gauges)}
	defer r.ledger.close()
	stop, err := r.watch(ctx)
	defer stop()
	if err != nil {
		return err
	}
	return r.follow(ctx)
}

// follow looks at what has changed, a second after the first change; where nothing
// changes, it sleeps.
func (r *round) follow(ctx context.Context) error {
	r.pending.everything()
	all := time.NewTicker(afresh)
	defer all.Stop()
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.cfg.Changed:
			r.pending.everything()
			continue
		case <-all.C:
			r.pending.everything()
			continue
		case <-again:
		case <-r.pending.ready:
			if !wait(ctx, gather) {
				return nil
			}
			if err := r.look(ctx, r.pending.take()); err != nil {
				return err // the cache alone was asked: only a bug gets here
			}
		}
		again = nil
		if r.ledger.say(r.cfg.Notices.Post) {
			again = time.After(sayAgain)
		}
	}
}

// wait reports false when ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// look judges what a batch touches.
func (r *round) look(ctx context.Context, b batch) error {
	if b.everything {
		if err := r.readWebhooks(ctx); err != nil {
			return err
		}
		return r.lookAt(ctx, "")
	}
	for namespace := range b.namespaces {
		if err := r.lookAt(ctx, namespace); err != nil {
			return err
		}
	}
	cluster := r.cluster(ctx)
	for name, pod := range b.pods {
		if pod == nil {
			r.ledger.put(name, Finding{}, false)
			continue
		}
		f, bad := cluster.Look(pod)
		r.ledger.put(name, f, bad)
	}
	return nil
}

// lookAt judges all pods of a namespace, of all namespaces for "".
func (r *round) lookAt(ctx context.Context, namespace string) error {
	var list corev1.PodList
	if err := r.cfg.Cache.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	cluster := r.cluster(ctx)
	here := make(map[types.NamespacedName]bool, len(list.Items))
	for i := range list.Items {
		pod := &list.Items[i]
		name := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
		here[name] = true
		f, bad := cluster.Look(pod)
		r.ledger.put(name, f, bad)
	}
	for _, name := range r.ledger.names(namespace) {
		if !here[name] {
			r.ledger.put(name, Finding{}, false)
		}
	}
	return nil
}

// cluster is what pods are judged by now; namespaces are read from the cache once each.
func (r *round) cluster(ctx context.Context) Cluster {
	known := map[string]map[string]string{}
	return Cluster{
		Labels: func(name string) map[string]string {
			labels, ok := known[name]
			if !ok {
				var n corev1.Namespace
				if err := r.cfg.Cache.Get(ctx, types.NamespacedName{Name: name}, &n); err != nil {
					// Gone: its pods are going as well.
					r.cfg.Log.Debug("read namespace", "namespace", name, "error", err)
				}
				labels = n.Labels
				known[name] = labels
			}
			return labels
		},
		Webhooks: r.webhooks, Revision: r.cfg.Revision,
	}
}

func (r *round) readWebhooks(ctx context.Context) error {
	var list admissionv1.MutatingWebhookConfigurationList
	if err := r.cfg.Cache.List(ctx, &list); err != nil {
		return fmt.Errorf("list webhook configurations: %w", err)
	}
	hooks, problems := policy.Webhooks(list.Items)
	for _, p := range problems {
		r.cfg.Log.Warn("webhook entry is not audited", "problem", p.String())
	}
	r.webhooks = hooks
	return nil
}

// watch feeds pending from the cache's informers, and waits until they know the cluster.
// stop ends that; it is never nil.
func (r *round) watch(ctx context.Context) (stop func(), err error) {
	var undo []func()
	stop = func() {
		for _, u := range undo {
			u()
		}
	}
	var synced []toolscache.InformerSynced
	for _, w := range []struct {
		kind    client.Object
		handler toolscache.ResourceEventHandler
	}{
		{&corev1.Pod{}, r.onPod()},
		{&corev1.Namespace{}, r.onNamespace()},
		{&admissionv1.MutatingWebhookConfiguration{}, r.onWebhook()},
	} {
		informer, err := r.cfg.Cache.GetInformer(ctx, w.kind)
		if err != nil {
			return stop, fmt.Errorf("watch %T: %w", w.kind, err)
		}
		registration, err := informer.AddEventHandler(w.handler)
		if err != nil {
			return stop, fmt.Errorf("watch %T: %w", w.kind, err)
		}
		undo = append(undo, func() {
			if err := informer.RemoveEventHandler(registration); err != nil {
				r.cfg.Log.Debug("stop watching", "error", err)
			}
		})
		synced = append(synced, registration.HasSynced)
	}
	toolscache.WaitForCacheSync(ctx.Done(), synced...)
	return stop, nil
}

func (r *round) onPod() toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(o any, initial bool) {
			if pod, ok := o.(*corev1.Pod); ok && !initial { // the first look is at everything
				r.pending.pod(pod, false)
			}
		},
		UpdateFunc: func(before, after any) {
			old, ok := before.(*corev1.Pod)
			now, okNow := after.(*corev1.Pod)
			if ok && okNow && old.ResourceVersion != now.ResourceVersion {
				r.pending.pod(now, false)
			}
		},
		DeleteFunc: func(o any) {
			if pod, ok := last(o).(*corev1.Pod); ok {
				r.pending.pod(pod, true)
			}
		},
	}
}

// onNamespace heeds changed labels; those of a new namespace may come after its pods.
func (r *round) onNamespace() toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(o any, initial bool) {
			if n, ok := o.(*corev1.Namespace); ok && !initial {
				r.pending.namespace(n.Name)
			}
		},
		UpdateFunc: func(before, after any) {
			old, ok := before.(*corev1.Namespace)
			now, okNow := after.(*corev1.Namespace)
			if ok && okNow && !maps.Equal(old.Labels, now.Labels) {
				r.pending.namespace(now.Name)
			}
		},
	}
}

func (r *round) onWebhook() toolscache.ResourceEventHandler {
	changed := func(any) { r.pending.everything() }
	return toolscache.ResourceEventHandlerFuncs{AddFunc: changed, UpdateFunc: func(_, o any) { changed(o) }, DeleteFunc: changed}
}

// last unwraps an object whose deletion was missed.
func last(o any) any {
	if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		return gone.Obj
	}
	return o
}
