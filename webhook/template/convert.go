package template

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"reflect"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	meshv1alpha1 "istio.io/api/mesh/v1alpha1"
	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/internal/meshconfig"
)

// toJSON writes any value; nothing is an empty object.
func toJSON(v any) (string, error) {
	if missing(v) {
		return "{}", nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", fmt.Errorf("write JSON: %w", err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// fromJSON reads any value.
func fromJSON(text string) (any, error) {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	return v, nil
}

// protoToJSON writes a message; of a ProxyConfig only what differs from the built-in one,
// which is what the agent lays over the same built-in one.
func protoToJSON(m proto.Message) (string, error) {
	if missing(m) {
		return "{}", nil
	}
	if config, ok := m.(*meshv1alpha1.ProxyConfig); ok {
		m = differences(config)
	}
	return meshconfig.JSON(m)
}

func differences(config *meshv1alpha1.ProxyConfig) *meshv1alpha1.ProxyConfig {
	out := proto.Clone(config).(*meshv1alpha1.ProxyConfig)
	m, base := out.ProtoReflect(), meshconfig.DefaultProxyConfig().ProtoReflect()
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if base.Has(field) && v.Equal(base.Get(field)) {
			m.Clear(field)
		}
		return true
	})
	return out
}

// toYAML writes any value without a line feed at its end.
func toYAML(v any) (string, error) {
	data, err := yaml.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("write YAML: %w", err)
	}
	return strings.TrimSuffix(string(data), "\n"), nil
}

// formatDuration writes a duration of a ProxyConfig in Go's form, "45s".
func formatDuration(d *durationpb.Duration) string { return d.AsDuration().String() }

// directory is the part of a path up to its last slash, which it includes.
func directory(file string) string {
	dir, _ := path.Split(file)
	return dir
}

// valueOrDefault is def where v is nothing or an empty text.
func valueOrDefault(v, def any) any {
	if missing(v) || v == "" {
		return def
	}
	return v
}

// missing reports nil of any type.
func missing(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Map, reflect.Pointer, reflect.Slice, reflect.Interface:
		return r.IsNil()
	default:
		return false
	}
}
