package certs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
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

// Delays after a failed patch: short for the first attempts, then long, for ever.
const (
	fastPatch     = 100 * time.Millisecond
	slowPatch     = time.Minute
	fastPatchRuns = 5
)

// Bundle writes the authority's roots into the webhook configurations of one revision. It
// touches the field caBundle of the injector's entries and nothing else, so that tools
// that own the rest of the object see no change of theirs.
type Bundle struct {
	Authority Authority
	Client    client.Client
	Cache     cache.Cache
	Revision  string // value of the label istio.io/rev
	Log       *slog.Logger
}

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
	var errs []error
	for i := range all.Items {
		errs = append(errs, b.patch(ctx, &all.Items[i], roots))
	}
	return errors.Join(errs...)
}

// patch writes one configuration where it differs.
func (b *Bundle) patch(ctx context.Context, config *admissionv1.MutatingWebhookConfiguration, roots []byte) error {
	type step struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	var steps []step
	for i := range config.Webhooks {
		entry := &config.Webhooks[i]
		if !strings.HasSuffix(entry.Name, entrySuffix) || bytes.Equal(entry.ClientConfig.CABundle, roots) {
			continue
		}
		at := "/webhooks/" + strconv.Itoa(i)
		// Entries are addressed by position: the test makes the patch fail, and be tried again,
		// when someone moved them since.
		steps = append(steps,
			step{"test", at + "/name", entry.Name},
			step{"add", at + "/clientConfig/caBundle", roots})
	}
	if len(steps) == 0 {
		return nil
	}
	data, err := json.Marshal(steps)
	if err != nil {
		return fmt.Errorf("encode patch of %s: %w", config.Name, err)
	}
	err = b.Client.Patch(ctx, config, client.RawPatch(types.JSONPatchType, data))
	if apierrors.IsNotFound(err) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return fmt.Errorf("patch %s: %w", config.Name, err)
	}
	b.Log.Info("webhook configuration patched", "name", config.Name, "entries", len(steps)/2)
	return nil
}
