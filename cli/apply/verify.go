package apply

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluicemesh/sluice/cli/render"
)

// Check is the result for one object.
type Check struct {
	// Object is how messages call it.
	Object string
	// Kind is the object's.
	Kind string
	// Fault is what is wrong, "" when nothing is.
	Fault string
}

// Verify looks for every object of the parts: it must be there, and, with Wait, be ready.
// Faults are in the checks; the error is for a cluster that does not answer.
func (a Applier) Verify(ctx context.Context, parts []render.Part) ([]Check, error) {
	var checks []Check
	for _, p := range parts {
		for _, o := range p.Objects {
			check := Check{Object: render.Name(o), Kind: o.GetKind()}
			err := a.Client.Get(ctx, client.ObjectKeyFromObject(o), blank(o))
			switch {
			case apierrors.IsNotFound(err) || meta.IsNoMatchError(err):
				check.Fault = "not found"
			case err != nil:
				return nil, fmt.Errorf("look for %s: %w", check.Object, err)
			case a.Wait && runs(p.Objects):
				if check.Fault, err = a.readiness(ctx, o); err != nil {
					return nil, err
				}
			}
			checks = append(checks, check)
		}
	}
	return checks, nil
}

// Record returns the settings that an installation of the revision recorded.
func (a Applier) Record(ctx context.Context, namespace, revision string) (string, error) {
	name := render.RecordName(revision)
	var record corev1.ConfigMap
	err := a.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &record)
	if apierrors.IsNotFound(err) {
		return "", fmt.Errorf("no installation is recorded (ConfigMap %s/%s): give its settings with -f or --set", namespace, name)
	}
	if err != nil {
		return "", fmt.Errorf("read the record of the installation: %w", err)
	}
	return record.Data[render.RecordKey], nil
}
