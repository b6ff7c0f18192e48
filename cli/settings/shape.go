package settings

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	meshv1alpha1 "istio.io/api/mesh/v1alpha1"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/manifests"
)

// shape says which names a map may have. A nil shape allows any.
type shape interface {
	// field returns what is below a name; false when the name is unknown.
	field(name string) (shape, bool)
	// names lists the known names.
	names() []string
}

// unknown reports every name of a layer that nothing reads, and scalars where a map belongs.
func unknown(l layer) []problem.Problem {
	w := walker{origin: l.origin}
	w.walk("", l.spec, specShape())
	return w.found
}

// walker gathers problems along a tree.
type walker struct {
	origin problem.Origin
	found  []problem.Problem
}

// walk compares v with s; the items of a list have the list's shape.
func (w *walker) walk(path string, v any, s shape) {
	if s == nil || v == nil {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			below := strings.TrimPrefix(path+"."+key, ".")
			next, ok := s.field(key)
			if !ok {
				w.report(below, "UnknownSetting", "is not a setting here"+suggestion(key, s.names()))
				continue
			}
			w.walk(below, v[key], next)
		}
	case []any:
		for i, item := range v {
			w.walk(fmt.Sprintf("%s[%d]", path, i), item, s)
		}
	default:
		w.report(path, "WrongType", fmt.Sprintf("must be a map with names out of %s", strings.Join(s.names(), ", ")))
	}
}

func (w *walker) report(path, reason, message string) {
	w.found = append(w.found, problem.Problem{Origin: w.origin, Path: path, Reason: reason, Message: message, Fatal: true})
}

// specShape is the shape of an IstioOperator's spec.
func specShape() shape {
	return fields{
		"profile": nil, "hub": nil, "tag": nil, "revision": nil, "namespace": nil,
		"components": typed{reflect.TypeFor[Components]()},
		"values":     valuesShape(),
		"meshConfig": message{(&meshv1alpha1.MeshConfig{}).ProtoReflect().Descriptor()},
	}
}

// valuesShape is what values.yaml of the charts istiod and, below cni, cni have, and the
// gateways' short forms.
func valuesShape() shape {
	defaults, err := manifests.Defaults(manifests.Istiod)
	if err != nil {
		panic(err) // embedded and tested
	}
	plugin, err := manifests.Defaults(manifests.CNI)
	if err != nil {
		panic(err)
	}
	delete(plugin, "global") // there is one for all charts
	f := defaultsShape(defaults)
	f["cni"] = defaultsShape(plugin)
	gateway := fields{}
	for name := range gatewayPaths() {
		gateway[name] = nil
	}
	gateway["cpu"] = fields{"targetAverageUtilization": nil}
	injected, _ := f["gateways"].(fields)
	injected["istio-ingressgateway"], injected["istio-egressgateway"] = gateway, gateway
	return f
}

// defaultsShape takes the names from a chart's defaults; an empty map allows any name.
func defaultsShape(defaults map[string]any) fields {
	f := fields{}
	for k, v := range defaults {
		if m, ok := v.(map[string]any); ok && len(m) > 0 {
			f[k] = defaultsShape(m)
		} else {
			f[k] = nil
		}
	}
	// Resources have names of their own besides the defaults'.
	for k := range f {
		if k == "resources" {
			f[k] = fields{"requests": nil, "limits": nil, "claims": nil}
		}
	}
	return f
}

// fields is a literal shape.
type fields map[string]shape

func (f fields) field(name string) (shape, bool) { s, ok := f[name]; return s, ok }
func (f fields) names() []string                 { return slices.Sorted(maps.Keys(f)) }

// typed is the shape of a Go struct, by its JSON names.
type typed struct{ reflect.Type }

func (t typed) field(name string) (shape, bool) {
	for i := range t.NumField() {
		if jsonName(t.Field(i)) != name {
			continue
		}
		return typeShape(t.Field(i).Type), true
	}
	return nil, false
}

func (t typed) names() []string {
	var names []string
	for i := range t.NumField() {
		names = append(names, jsonName(t.Field(i)))
	}
	slices.Sort(names)
	return names
}

// typeShape is nil for scalars, maps and the Kubernetes API's own types, whose names the
// strict decoder checks.
func typeShape(t reflect.Type) shape {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t.PkgPath() != reflect.TypeFor[Settings]().PkgPath() {
		return nil
	}
	return typed{t}
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// message is the shape of a protobuf message in JSON: either spelling of a name is known.
type message struct{ protoreflect.MessageDescriptor }

func (m message) field(name string) (shape, bool) {
	fd := m.Fields().ByJSONName(name)
	if fd == nil {
		fd = m.Fields().ByTextName(name)
	}
	if fd == nil {
		return nil, false
	}
	if fd.IsMap() || fd.Message() == nil || strings.HasPrefix(string(fd.Message().FullName()), "google.protobuf.") {
		return nil, true
	}
	return message{fd.Message()}, true
}

func (m message) names() []string {
	var names []string
	for i := range m.Fields().Len() {
		names = append(names, m.Fields().Get(i).JSONName())
	}
	slices.Sort(names)
	return names
}
