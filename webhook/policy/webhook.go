package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/internal/problem"
)

// WebhookSuffix ends the name of every entry that calls an injector.
const WebhookSuffix = "sidecar-injector.istio.io"

// Deactivated is the label key, with value "never-match", that both selectors of an entry
// ask for when another revision has become the default.
const Deactivated = "istio.io/deactivated"

// Webhook is one entry of a MutatingWebhookConfiguration that calls an injector.
type Webhook struct {
	Config string // the configuration's name
	Name   string // the entry's, "namespace.sidecar-injector.istio.io"
	// Revision is the revision whose injector answers: label istio.io/rev of the
	// configuration, else its tag, else "default".
	Revision string
	// Tag is the revision tag that the configuration stands for; empty for a revision's own.
	Tag               string
	NamespaceSelector labels.Selector
	ObjectSelector    labels.Selector
	Conditions        []Condition
	// FailurePolicy says what becomes of pods when the injector does not answer.
	FailurePolicy admissionv1.FailurePolicyType
	// ControlPlane is the namespace that the condition not-control-plane keeps away: the one
	// it names, else that of the injector's Service.
	ControlPlane string
	// Created is when the configuration was; older pods were not shown to it.
	Created time.Time
}

// Condition is a CEL expression that must hold for the entry to be called.
type Condition struct{ Name, Expression string }

// String is "configuration/entry".
func (w Webhook) String() string { return w.Config + "/" + w.Name }

// deactivated reports that the entry was switched off for good.
func (w Webhook) deactivated() bool {
	value, exact := w.NamespaceSelector.RequiresExactMatch(Deactivated)
	return exact && value == "never-match"
}

// serves reports whether the entry stands for the revision or tag.
func (w Webhook) serves(revision string) bool { return w.Revision == revision || w.Tag == revision }

// Webhooks returns the entries that call an injector, in the order in which the API server
// calls them: configurations by name, entries as they are listed. An entry with a selector
// that cannot be read is left out and reported.
func Webhooks(configs []admissionv1.MutatingWebhookConfiguration) ([]Webhook, []problem.Problem) {
	var out []Webhook
	var problems []problem.Problem
	order := make([]*admissionv1.MutatingWebhookConfiguration, len(configs))
	for i := range configs {
		order[i] = &configs[i]
	}
	slices.SortFunc(order, func(a, b *admissionv1.MutatingWebhookConfiguration) int { return strings.Compare(a.Name, b.Name) })
	for _, c := range order {
		for i := range c.Webhooks {
			if !strings.HasSuffix(c.Webhooks[i].Name, WebhookSuffix) {
				continue
			}
			w, err := webhookOf(c, &c.Webhooks[i])
			if err != nil {
				problems = append(problems, problem.Problem{
					Origin: problem.Origin{
						Kind: "MutatingWebhookConfiguration.admissionregistration.k8s.io", Name: c.Name, Generation: c.Generation,
					},
					Path:    fmt.Sprintf("webhooks[%d]", i),
					Reason:  string(InvalidWebhook),
					Message: err.Error() + ": the entry is left out, correct it",
				})
				continue
			}
			out = append(out, w)
		}
	}
	return out, problems
}

func webhookOf(c *admissionv1.MutatingWebhookConfiguration, in *admissionv1.MutatingWebhook) (Webhook, error) {
	w := Webhook{Config: c.Name, Name: in.Name, Revision: c.Labels[meta.Revision], Tag: c.Labels[meta.Tag], Created: c.CreationTimestamp.Time}
	if w.Revision == "" {
		w.Revision = w.Tag
	}
	if w.Revision == "" {
		w.Revision = defaultRevision
	}
	var err error
	if w.NamespaceSelector, err = selector(in.NamespaceSelector); err != nil {
		return Webhook{}, fmt.Errorf("namespaceSelector: %w", err)
	}
	if w.ObjectSelector, err = selector(in.ObjectSelector); err != nil {
		return Webhook{}, fmt.Errorf("objectSelector: %w", err)
	}
	for _, m := range in.MatchConditions {
		w.Conditions = append(w.Conditions, Condition{m.Name, m.Expression})
	}
	w.FailurePolicy = admissionv1.Fail
	if in.FailurePolicy != nil {
		w.FailurePolicy = *in.FailurePolicy
	}
	w.ControlPlane = controlPlane(in)
	return w, nil
}

// selector reads a webhook's selector; an absent one selects everything.
func selector(in *metav1.LabelSelector) (labels.Selector, error) {
	if in == nil {
		return labels.Everything(), nil
	}
	return metav1.LabelSelectorAsSelector(in)
}
