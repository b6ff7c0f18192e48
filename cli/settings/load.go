package settings

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/manifests"
)

// Unreadable is the reason of a file or an assignment that cannot be read.
const Unreadable = "Unreadable"

// File is one file of settings.
type File struct {
	// Name is how messages call it.
	Name string
	// Text is YAML: one IstioOperator object.
	Text []byte
}

// Request is what the user gave, lowest layer first.
type Request struct {
	Files []File
	// Sets are assignments, path=value. A path is one below spec; the value is a scalar or a
	// flow list or map of YAML.
	Sets []string
	// Revision and Namespace, if not empty, win over every layer.
	Revision, Namespace string
	// Tag is the tag when no layer has one.
	Tag string
}

// layer is one set of settings with the name that messages use.
type layer struct {
	origin problem.Origin
	spec   map[string]any
}

// Load lays the request's layers over its profile. The settings are only meant for use when
// there are no problems; these are those of all layers.
func Load(r Request) (Settings, []problem.Problem) {
	files, problems := r.readFiles()
	profile := "default"
	for _, l := range files {
		if name, ok := l.spec["profile"].(string); ok && name != "" {
			profile = name
		}
	}
	for _, set := range r.Sets {
		if name, ok := strings.CutPrefix(strings.TrimPrefix(set, "spec."), "profile="); ok {
			profile = name
		}
	}
	merged, found := profileSpec(profile)
	problems = append(problems, found...)
	for _, l := range files {
		problems = append(problems, unknown(l)...)
		merged = overlay(merged, l.spec).(map[string]any)
	}
	for _, set := range r.Sets {
		problems = append(problems, apply(set, merged)...)
	}
	merged["profile"] = profile
	if len(problems) > 0 {
		return Settings{}, problems
	}
	return r.finish(merged)
}

// apply checks the names of one assignment and writes it into merged.
func apply(set string, merged map[string]any) []problem.Problem {
	origin := problem.Origin{Kind: "--set", Name: set}
	// On its own first, as only its own names are to be checked; an index in it means an
	// item of the merged list.
	alone := map[string]any{}
	err := assign(set, alone)
	if err == nil {
		if problems := unknown(layer{origin, alone}); len(problems) > 0 {
			return problems
		}
		err = assign(set, merged)
	}
	if err != nil {
		return []problem.Problem{{Origin: origin, Reason: Unreadable, Message: err.Error(), Fatal: true}}
	}
	normalise(merged)
	return nil
}

// YAML renders the settings as an IstioOperator object. Reading it again with Load gives
// the same settings.
func (s Settings) YAML() ([]byte, error) {
	return yaml.Marshal(map[string]any{"apiVersion": APIVersion, "kind": Kind, "spec": s})
}

// readFiles gives a layer for each file; those that cannot be read are reported.
func (r Request) readFiles() ([]layer, []problem.Problem) {
	var layers []layer
	var problems []problem.Problem
	for _, f := range r.Files {
		origin := problem.Origin{Kind: Kind, Name: f.Name}
		spec, err := readFile(f.Text)
		if err != nil {
			problems = append(problems, problem.Problem{Origin: origin, Reason: Unreadable, Message: err.Error(), Fatal: true})
			continue
		}
		layers = append(layers, layer{origin, normalise(spec)})
	}
	return layers, problems
}

// readFile returns the spec of an IstioOperator object.
func readFile(text []byte) (map[string]any, error) {
	var object struct {
		APIVersion string         `json:"apiVersion"`
		Kind       string         `json:"kind"`
		Metadata   map[string]any `json:"metadata"`
		Spec       map[string]any `json:"spec"`
	}
	if err := yaml.UnmarshalStrict(text, &object); err != nil {
		return nil, fmt.Errorf("not readable as an %s object: %w", Kind, err)
	}
	if object.Kind != Kind || object.APIVersion != APIVersion {
		return nil, fmt.Errorf("is %q of %q; write kind: %s and apiVersion: %s", object.Kind, object.APIVersion, Kind, APIVersion)
	}
	// The namespace of the object is the control plane's, unless spec says otherwise.
	if ns, ok := object.Metadata["namespace"].(string); ok && ns != "" {
		object.Spec = overlay(map[string]any{"namespace": ns}, object.Spec).(map[string]any)
	}
	return object.Spec, nil
}

// profileSpec returns the profile default with the named one over it; the default alone,
// with a problem, when there is none of the name.
func profileSpec(name string) (map[string]any, []problem.Problem) {
	spec := profileLayer("default")
	if !slices.Contains(manifests.Profiles(), name) {
		return spec, []problem.Problem{{
			Origin: problem.Origin{Kind: Kind, Name: "settings"}, Path: "profile", Reason: "UnknownProfile",
			Message: fmt.Sprintf("%q is no profile%s; there are %s",
				name, suggestion(name, manifests.Profiles()), strings.Join(manifests.Profiles(), ", ")),
			Fatal: true,
		}}
	}
	if name == "default" {
		return spec, nil
	}
	return overlay(spec, profileLayer(name)).(map[string]any), nil
}

// profileLayer is what one profile says itself.
func profileLayer(name string) map[string]any {
	text, ok := manifests.Profile(name)
	spec, err := readFile(text)
	if !ok || err != nil {
		panic(fmt.Sprintf("profile %s: %v", name, err)) // embedded and tested
	}
	return normalise(spec)
}

// finish applies what wins over all layers, gives the tree its types and checks them.
func (r Request) finish(spec map[string]any) (Settings, []problem.Problem) {
	if r.Revision != "" {
		spec["revision"] = r.Revision
	}
	if r.Namespace != "" {
		spec["namespace"] = r.Namespace
	}
	texts(spec)
	origin := problem.Origin{Kind: Kind, Name: "settings"}
	data, err := yaml.Marshal(spec)
	if err != nil {
		panic(err) // a tree that was read from YAML
	}
	var s Settings
	if err := yaml.UnmarshalStrict(data, &s); err != nil {
		return s, []problem.Problem{{Origin: origin, Reason: "WrongType", Message: err.Error(), Fatal: true}}
	}
	if s.Tag == "" {
		s.Tag = r.Tag
	}
	if s.Namespace == "" {
		s.Namespace = "istio-system"
	}
	return s, s.check(origin)
}
