// Package render turns settings into the objects of an installation.
//
// The objects come from the charts of package manifests. This package chooses the releases,
// adds the namespace and the labels by which an installation knows its own, and puts all in
// the order in which they are to be applied. It is pure: it reads no cluster.
package render

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/release/v1/util"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/cli/settings"
	"github.com/sluicemesh/sluice/manifests"
)

// Labels of the objects of an installation.
const (
	// LabelComponent holds the part's Component.
	LabelComponent = "operator.istio.io/component"
	// LabelManaged is "Reconcile": the object goes when the settings no longer give it.
	LabelManaged = "operator.istio.io/managed"
	// LabelRevision holds the revision, "default" when it is empty; the objects that
	// revisions share (definitions, namespaces) have none.
	LabelRevision = "istio.io/rev"
	labelManager  = "app.kubernetes.io/managed-by"
)

// Values of LabelComponent.
const (
	Base            = "Base"
	Pilot           = "Pilot"
	CNI             = "Cni"
	IngressGateways = "IngressGateways"
	EgressGateways  = "EgressGateways"
)

// release is the name of every release, as templates see it.
const release = "istio"

// Part is what is applied, and waited for, together.
type Part struct {
	// Component is the value of LabelComponent.
	Component string
	// Title is what a user reads, "Istiod".
	Title string
	// Objects are in the order of their application.
	Objects []*unstructured.Unstructured
}

// Parts returns the parts of an installation in the order of their application: the network
// plug-in comes before the control plane, which injects pods that need it, and the gateways
// after it, as it injects their proxies. The objects are new
// and owned by the caller. Without an enabled component there are no parts.
func Parts(s settings.Settings) ([]Part, error) {
	var parts []Part
	add := func(component, title string, releases ...manifests.Release) error {
		if len(releases) == 0 {
			return nil
		}
		part := Part{Component: component, Title: title}
		for _, r := range releases {
			objects, err := manifests.Render(r)
			if err != nil {
				return err
			}
			part.Objects = append(part.Objects, objects...)
		}
		parts = append(parts, part)
		return nil
	}
	c := s.Components
	err := add(Base, "Core", when(c.Base.Enabled, manifests.Release{Chart: manifests.Base, Name: release, Namespace: s.Namespace})...)
	if err != nil {
		return nil, err
	}
	plugin := manifests.Release{Chart: manifests.CNI, Name: release, Namespace: s.CNINamespace(), Values: s.CNIValues()}
	if err := add(CNI, "Network plug-in", when(c.CNI.Enabled, plugin)...); err != nil {
		return nil, err
	}
	pilot := manifests.Release{Chart: manifests.Istiod, Name: release, Namespace: s.Namespace, Values: s.PilotValues()}
	if err := add(Pilot, "Istiod", when(c.Pilot.Enabled, pilot)...); err != nil {
		return nil, err
	}
	if err := add(IngressGateways, "Ingress gateways", gateways(s, "ingressgateway", c.IngressGateways)...); err != nil {
		return nil, err
	}
	if err := add(EgressGateways, "Egress gateways", gateways(s, "egressgateway", c.EgressGateways)...); err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		return nil, nil
	}
	// With the first part, so that an installation that fails can be looked at, too.
	state, err := record(s)
	if err != nil {
		return nil, err
	}
	parts[0].Objects = slices.Concat(namespaces(s), []*unstructured.Unstructured{state}, parts[0].Objects)
	for _, p := range parts {
		finish(p, s.Revision)
	}
	return parts, nil
}

// when is a list of r, if enabled.
func when(enabled bool, r manifests.Release) []manifests.Release {
	if !enabled {
		return nil
	}
	return []manifests.Release{r}
}

// gateways are the releases of the enabled gateways of one kind.
func gateways(s settings.Settings, kind string, list []settings.Gateway) []manifests.Release {
	var releases []manifests.Release
	for _, g := range list {
		if g.Enabled {
			releases = append(releases, manifests.Release{
				Chart: manifests.Gateway, Name: release, Namespace: namespaceOf(s, g), Values: s.GatewayValues(kind, g),
			})
		}
	}
	return releases
}

func namespaceOf(s settings.Settings, g settings.Gateway) string {
	if g.Namespace != "" {
		return g.Namespace
	}
	return s.Namespace
}

// namespaces are those that the enabled components live in, the control plane's first.
func namespaces(s settings.Settings) []*unstructured.Unstructured {
	names := []string{s.Namespace}
	if n := s.CNINamespace(); s.Components.CNI.Enabled && n != s.Namespace {
		names = append(names, n)
	}
	for _, g := range slices.Concat(s.Components.IngressGateways, s.Components.EgressGateways) {
		if n := namespaceOf(s, g); g.Enabled && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	var objects []*unstructured.Unstructured
	for _, name := range names {
		n := &unstructured.Unstructured{}
		n.SetAPIVersion("v1")
		n.SetKind("Namespace")
		n.SetName(name)
		objects = append(objects, n)
	}
	return objects
}

// RecordName is the name of the ConfigMap in the control plane's namespace that keeps the
// settings of an installation under RecordKey, so that it can be verified without them.
func RecordName(revision string) string {
	if revision == "" || revision == "default" {
		return "installed-state"
	}
	return "installed-state-" + revision
}

// RecordKey is the key of the settings in their record.
const RecordKey = "settings.yaml"

func record(s settings.Settings) (*unstructured.Unstructured, error) {
	text, err := s.YAML()
	if err != nil {
		return nil, fmt.Errorf("write the settings: %w", err)
	}
	o := &unstructured.Unstructured{Object: map[string]any{"data": map[string]any{RecordKey: string(text)}}}
	o.SetAPIVersion("v1")
	o.SetKind("ConfigMap")
	o.SetName(RecordName(s.Revision))
	o.SetNamespace(s.Namespace)
	o.SetLabels(map[string]string{LabelRevision: orDefault(s.Revision)})
	return o, nil
}

// finish labels the objects of a part and sorts them by kind.
func finish(p Part, revision string) {
	for _, o := range p.Objects {
		labels := o.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[LabelComponent] = p.Component
		labels[LabelManaged] = "Reconcile"
		labels[labelManager] = "sluice"
		switch {
		case o.GetKind() == "Namespace":
			// On a namespace LabelRevision would ask for the injection of all its pods.
			labels[LabelComponent] = Base
		case p.Component != Base:
			labels[LabelRevision] = orDefault(revision)
		}
		o.SetLabels(labels)
	}
	slices.SortStableFunc(p.Objects, func(a, b *unstructured.Unstructured) int {
		return rank(a.GetKind()) - rank(b.GetKind())
	})
}

func orDefault(revision string) string {
	if revision == "" {
		return "default"
	}
	return revision
}

// rank is the place of a kind in the order of application. Definitions come before the
// namespace, as they take a while to be served; a kind that Helm's order does not know last.
func rank(kind string) int {
	if kind == "CustomResourceDefinition" {
		return -1
	}
	if i := slices.Index(util.InstallOrder, kind); i >= 0 {
		return i
	}
	return len(util.InstallOrder)
}

// YAML writes the objects of all parts as one stream of documents, for kubectl apply.
func YAML(parts []Part) ([]byte, error) {
	var out bytes.Buffer
	for _, p := range parts {
		for _, o := range p.Objects {
			text, err := yaml.Marshal(o.Object)
			if err != nil {
				return nil, fmt.Errorf("write %s: %w", Name(o), err)
			}
			out.Write(text)
			out.WriteString("---\n")
		}
	}
	return out.Bytes(), nil
}

// Name is how messages call an object: "Deployment istio-system/istiod".
func Name(o *unstructured.Unstructured) string {
	return o.GetKind() + " " + strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/")
}
