// Package explain has the verbs that say why a pod is injected or not: explain-inject with
// every rule that was tried, check-inject with a line for each webhook, and uninjected with
// the pods of a cluster that lack the proxy.
//
// All of them ask package policy, whose answer is the webhook's own. This package gathers
// what that question needs, from the cluster, from files, or from the chart, and prints.
// The cluster is only read.
package explain

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluicemesh/sluice/cli/source"
	"github.com/sluicemesh/sluice/webhook/policy"
)

// world is what a decision depends on beside the pod.
type world struct {
	source   *source.Source
	webhooks []policy.Webhook
	// given are namespace labels that replace the cluster's, by name; "" is for all.
	given map[string]map[string]string
	notes []string

	injectors  map[string]*source.Injector // by revision; nil for one that is not known
	namespaces map[string]policy.Namespace
}

// newWorld reads the webhook configurations.
func newWorld(ctx context.Context, s *source.Source) (*world, error) {
	configs, err := s.Configurations(ctx)
	if err != nil {
		return nil, err
	}
	w := &world{
		source: s, given: map[string]map[string]string{},
		injectors: map[string]*source.Injector{}, namespaces: map[string]policy.Namespace{},
	}
	hooks, problems := policy.Webhooks(configs)
	w.webhooks = hooks
	for _, p := range problems {
		w.notes = append(w.notes, "warning: "+p.String())
	}
	return w, nil
}

// question is what policy is asked about a pod.
func (w *world) question(ctx context.Context, pod *corev1.Pod, namespace string) (policy.Question, error) {
	ns, err := w.namespace(ctx, namespace)
	if err != nil {
		return policy.Question{}, err
	}
	return policy.Question{
		Pod: pod, Namespace: ns, Webhooks: w.webhooks,
		RulesOf: func(revision string) (policy.Rules, bool) {
			if i := w.injector(ctx, revision); i != nil {
				return i.Settings.Rules, true
			}
			return policy.Rules{}, false
		},
	}, nil
}

// injector returns the injector of a revision; nil when its settings cannot be had.
func (w *world) injector(ctx context.Context, revision string) *source.Injector {
	if i, ok := w.injectors[revision]; ok {
		return i
	}
	i, err := w.source.InjectorOf(ctx, revision)
	if err != nil {
		w.notes = append(w.notes, fmt.Sprintf("warning: the settings of revision %s are not known: %v", revision, err))
	}
	w.injectors[revision] = i
	return i
}

// namespace reads the labels of a namespace, once.
func (w *world) namespace(ctx context.Context, name string) (policy.Namespace, error) {
	if n, ok := w.namespaces[name]; ok {
		return n, nil
	}
	n := policy.Namespace{Name: name}
	c, live := w.source.Cluster()
	labels, own := w.given[name]
	all, overridden := w.given[""]
	switch {
	case overridden:
		n.Labels = all
	case own:
		n.Labels = labels
	case live:
		object := &corev1.Namespace{}
		err := c.Get(ctx, client.ObjectKey{Name: name}, object)
		if client.IgnoreNotFound(err) != nil {
			return n, fmt.Errorf("read namespace %s: %w", name, err)
		}
		if err != nil {
			w.notes = append(w.notes, fmt.Sprintf("namespace %s does not exist yet: taken as one without labels", name))
		}
		n.Labels = object.Labels
	default:
		w.notes = append(w.notes, fmt.Sprintf("the labels of namespace %s are not known: taken as none; give them with --namespace-labels", name))
	}
	w.namespaces[name] = n
	return n, nil
}
