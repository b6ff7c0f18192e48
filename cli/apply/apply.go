// Package apply brings the objects of an installation into a cluster, waits for them,
// compares them and removes them.
//
// It acts through server-side apply with the field manager "sluice": fields that nobody
// here sets, like the caBundle of a webhook, stay with whoever wrote them. What belongs to an
// installation is found again by the labels of package render. The package decides nothing
// about what is installed, and never deletes a namespace that it did not create.
package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluicemesh/sluice/cli/render"
	"github.com/sluicemesh/sluice/cli/terminal"
)

// manager is the field manager of everything that is applied.
const manager = "sluice"

// poll is how often a condition of the cluster is asked for.
const poll = 250 * time.Millisecond

// Applier acts on one cluster. It is for one goroutine.
type Applier struct {
	Client client.Client
	// Printer shows the progress.
	Printer *terminal.Printer
	// Timeout bounds each wait.
	Timeout time.Duration
	// Wait says whether to wait for readiness and for deletion. Definitions are always
	// waited for, as they are needed at once.
	Wait bool
}

// Install applies the parts one after the other, each ready before the next. It stops at
// the first part that fails.
func (a Applier) Install(ctx context.Context, parts []render.Part) error {
	for _, p := range parts {
		step := a.Printer.Start("Installing " + p.Title)
		if err := a.installPart(ctx, p, step); err != nil {
			step.Fail(p.Title + " failed")
			return err
		}
		step.Done(p.Title + " installed")
	}
	return nil
}

func (a Applier) installPart(ctx context.Context, p render.Part, step *terminal.Step) error {
	for i, o := range p.Objects {
		if i > 0 && isDefinition(p.Objects[i-1]) && !isDefinition(o) {
			if err := a.waitDefinitions(ctx, p.Objects[:i], step); err != nil {
				return err
			}
		}
		step.At(render.Name(o))
		if err := a.apply(ctx, o); err != nil {
			return err
		}
	}
	if last := p.Objects[len(p.Objects)-1]; isDefinition(last) {
		return a.waitDefinitions(ctx, p.Objects, step)
	}
	if !a.Wait {
		return nil
	}
	return a.waitReady(ctx, p.Objects, step)
}

// apply writes one object. A namespace that exists is left as it is: it is its creator's.
func (a Applier) apply(ctx context.Context, o *unstructured.Unstructured) error {
	if o.GetKind() == "Namespace" {
		err := a.Client.Get(ctx, client.ObjectKeyFromObject(o), blank(o))
		if err == nil {
			return nil
		}
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("look for %s: %w", render.Name(o), err)
		}
	}
	err := a.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(o.DeepCopy()),
		client.FieldOwner(manager), client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("apply %s: %w", render.Name(o), err)
	}
	return nil
}

// Change is what an installation would do to one object.
type Change struct {
	// Object is how messages call it.
	Object string
	// Verb is "create", "change" or "keep".
	Verb string
}

// Preview asks the server what applying the parts would do, without doing it. An object
// whose namespace is to be created cannot be checked by the server, and counts as created.
func (a Applier) Preview(ctx context.Context, parts []render.Part) ([]Change, error) {
	var changes []Change
	for _, p := range parts {
		for _, o := range p.Objects {
			verb, err := a.preview(ctx, o)
			if err != nil {
				return nil, err
			}
			changes = append(changes, Change{render.Name(o), verb})
		}
	}
	return changes, nil
}

func (a Applier) preview(ctx context.Context, o *unstructured.Unstructured) (string, error) {
	live := blank(o)
	err := a.Client.Get(ctx, client.ObjectKeyFromObject(o), live)
	found := err == nil
	if err != nil && !apierrors.IsNotFound(err) {
		return "", fmt.Errorf("look for %s: %w", render.Name(o), err)
	}
	if found && o.GetKind() == "Namespace" {
		return "keep", nil
	}
	after := o.DeepCopy()
	err = a.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(after),
		client.FieldOwner(manager), client.ForceOwnership, client.DryRunAll)
	switch {
	case err != nil && !found && isMissingNamespace(err):
		return "create", nil
	case err != nil:
		return "", fmt.Errorf("apply %s: %w", render.Name(o), err)
	case !found:
		return "create", nil
	case sameContent(live, after):
		return "keep", nil
	default:
		return "change", nil
	}
}

// isMissingNamespace reports whether the server missed the namespace, not the kind.
func isMissingNamespace(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsNotFound(err) && errors.As(err, &status) &&
		status.Status().Details != nil && status.Status().Details.Kind == "namespaces"
}

// sameContent compares two states of an object without what the server counts.
func sameContent(a, b *unstructured.Unstructured) bool {
	strip := func(o *unstructured.Unstructured) map[string]any {
		o = o.DeepCopy()
		o.SetManagedFields(nil)
		o.SetResourceVersion("")
		o.SetGeneration(0)
		unstructured.RemoveNestedField(o.Object, "status")
		return o.Object
	}
	return equality.Semantic.DeepEqual(strip(a), strip(b))
}
