package certs

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluicemesh/sluice/internal/meta"
)

// entrySuffix ends the name of every webhook entry that calls an injector.
const entrySuffix = "sidecar-injector.istio.io"

// bundleOwner is the field manager of the one field that is written, so that tools which
// apply the rest of the object see who the bundle belongs to.
const bundleOwner = client.FieldOwner("sluice-ca-bundle")

// overlap is how long a root that is not the authority's stays in a bundle: the API server
// goes on to trust replicas whose certificate is still of the former root, or of one that
// this replica does not know yet.
const overlap = 10 * time.Minute

// Delays after a failed patch: short for the first attempts, then long, for ever.
const (
	fastPatch     = 100 * time.Millisecond
	slowPatch     = time.Minute
	fastPatchRuns = 5
)

// Bundle writes the authority's roots into the webhook configurations of one revision. It
// touches the field caBundle of the injector's entries and nothing else, so that tools
// that own the rest of the object see no change of theirs.
//
// New roots are added at once, beside what is there; others are taken away only when they
// have been there for ten minutes. Replicas that know different roots therefore do not
// fight, and no certificate is served that the API server does not trust.
type Bundle struct {
	Authority Authority
	Client    client.Client
	Cache     cache.Cache
	Revision  string // value of the label istio.io/rev
	Log       *slog.Logger

	overlap time.Duration // 0 is the constant; tests cannot wait that long
	tried   atomic.Bool
	foreign map[fingerprint]time.Time // others' roots in the bundles, since when; the loop's own
}

// Tried reports whether the roots have been written once, or could not be. Before that the
// API server may not trust this replica.
func (b *Bundle) Tried() bool { return b.tried.Load() }

// NeedLeaderElection says that every replica patches: each revision owns its objects, and
// replicas write the same bytes.
func (b *Bundle) NeedLeaderElection() bool { return false }

// Start patches at once, at every change of a configuration or of the roots, and again
// after failures, until ctx ends.
func (b *Bundle) Start(ctx context.Context) error {
	informer, err := b.Cache.GetInformer(ctx, &admissionv1.MutatingWebhookConfiguration{})
	if err != nil {
		return fmt.Errorf("watch webhook configurations: %w", err)
	}
	seen := make(chan struct{}, 1)
	notify := func() {
		select {
		case seen <- struct{}{}:
		default: // one is pending already
		}
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { notify() },
		UpdateFunc: func(any, any) { notify() },
	})
	if err != nil {
		return fmt.Errorf("watch webhook configurations: %w", err)
	}
	defer func() {
		if err := informer.RemoveEventHandler(registration); err != nil {
			b.Log.Debug("stop watching webhook configurations", "error", err)
		}
	}()
	return b.loop(ctx, seen)
}

// loop runs until ctx ends.
func (b *Bundle) loop(ctx context.Context, seen <-chan struct{}) error {
	failures := 0
	for {
		changed := b.Authority.RootsChanged()
		var retry <-chan time.Time
		if err := b.patchAll(ctx); err != nil {
			failures++
			delay := fastPatch
			if failures > fastPatchRuns {
				delay = slowPatch
			}
			b.Log.Error("patch webhook configurations", "error", err, "retry", delay)
			retry = time.After(delay)
		} else {
			failures = 0
			if next, ok := b.nextDrop(time.Now()); ok {
				retry = time.After(time.Until(next))
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-seen:
		case <-changed:
		case <-retry:
		}
	}
}

// patchAll brings every configuration of the revision up to date and returns the errors of
// those that failed.
func (b *Bundle) patchAll(ctx context.Context) error {
	roots := b.Authority.Roots()
	if len(roots) == 0 {
		return nil // RootsChanged wakes the loop when there are some
	}
	var all admissionv1.MutatingWebhookConfigurationList
	if err := b.Client.List(ctx, &all, client.MatchingLabels{meta.Revision: b.Revision}); err != nil {
		return fmt.Errorf("list webhook configurations: %w", err)
	}
	now, own := time.Now(), parseRoots(roots)
	b.meet(all.Items, own, now)
	var errs []error
	for i := range all.Items {
		errs = append(errs, b.patch(ctx, &all.Items[i], roots, now))
	}
	b.tried.Store(true)
	return errors.Join(errs...)
}

// meet remembers since when roots that are not own are in the bundles, and forgets those
// that are in none any more.
func (b *Bundle) meet(configs []admissionv1.MutatingWebhookConfiguration, own rootSet, now time.Time) {
	foreign := map[fingerprint]time.Time{}
	for i := range configs {
		for _, entry := range injectors(&configs[i]) {
			for _, root := range parseRoots(entry.ClientConfig.CABundle).certs {
				if own.has(root) {
					continue
				}
				id := identify(root)
				since, met := b.foreign[id]
				if !met {
					since = now
				}
				foreign[id] = since
			}
		}
	}
	b.foreign = foreign
}

// nextDrop is when the next of the others' roots will have been there for long enough; those
// that have were taken away just now.
func (b *Bundle) nextDrop(now time.Time) (at time.Time, ok bool) {
	for _, since := range b.foreign {
		if drop := since.Add(b.stay()); drop.After(now) && (!ok || drop.Before(at)) {
			at, ok = drop, true
		}
	}
	return at, ok
}

func (b *Bundle) stay() time.Duration {
	if b.overlap > 0 {
		return b.overlap
	}
	return overlap
}

// stays reports whether a root that is not the authority's is kept in a bundle.
func (b *Bundle) stays(root *x509.Certificate, now time.Time) bool {
	since, met := b.foreign[identify(root)]
	return met && now.Sub(since) < b.stay() && now.Before(root.NotAfter)
}

// patch writes one configuration where its bundles lack a root or have one too many.
func (b *Bundle) patch(ctx context.Context, config *admissionv1.MutatingWebhookConfiguration, roots []byte, now time.Time) error {
	type step struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	var steps []step
	for i, entry := range injectors(config) {
		bundle, ok := merge(roots, entry.ClientConfig.CABundle, func(c *x509.Certificate) bool { return b.stays(c, now) })
		if !ok {
			continue
		}
		at := "/webhooks/" + strconv.Itoa(i)
		// Entries are addressed by position: the test makes the patch fail, and be tried again,
		// when someone moved them since.
		steps = append(steps,
			step{"test", at + "/name", entry.Name},
			step{"add", at + "/clientConfig/caBundle", bundle})
	}
	if len(steps) == 0 {
		return nil
	}
	data, err := json.Marshal(steps)
	if err != nil {
		return fmt.Errorf("encode patch of %s: %w", config.Name, err)
	}
	err = b.Client.Patch(ctx, config, client.RawPatch(types.JSONPatchType, data), bundleOwner)
	if apierrors.IsNotFound(err) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return fmt.Errorf("patch %s: %w", config.Name, err)
	}
	b.Log.Info("webhook configuration patched", "name", config.Name, "entries", len(steps)/2)
	return nil
}

// injectors are the entries of a configuration that call an injector, by position.
func injectors(config *admissionv1.MutatingWebhookConfiguration) iter.Seq2[int, *admissionv1.MutatingWebhook] {
	return func(yield func(int, *admissionv1.MutatingWebhook) bool) {
		for i := range config.Webhooks {
			entry := &config.Webhooks[i]
			if strings.HasSuffix(entry.Name, entrySuffix) && !yield(i, entry) {
				return
			}
		}
	}
}
