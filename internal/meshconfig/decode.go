package meshconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/internal/suggest"
)

// Unknown is a field that a configuration names and that its type does not have.
type Unknown struct {
	Path    string // "tracing.samplng"
	Nearest string // the name in its place that was most likely meant; empty for none
}

// mostSuggestions bounds the work that a text full of unknown fields makes.
const mostSuggestions = 10

// String is "unknown field tracing.samplng: did you mean sampling?".
func (u Unknown) String() string {
	if u.Nearest == "" {
		return "unknown field " + u.Path
	}
	return "unknown field " + u.Path + ": did you mean " + u.Nearest + "?"
}

// document is a text in the middle of being read.
type document struct {
	fields   map[string]any // what the type of the message has
	unknown  []Unknown
	mistakes []error
}

// decode reads YAML into m. The error joins all mistakes that it can tell apart.
func decode(text string, m proto.Message) (document, error) {
	var d document
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return d, err
	}
	if string(data) == "null" {
		return d, nil
	}
	r := json.NewDecoder(bytes.NewReader(data))
	r.UseNumber()
	if err := r.Decode(&d.fields); err != nil {
		return d, errors.New("is not a list of fields, write NAME: VALUE")
	}
	d.message("", m.ProtoReflect().Descriptor(), d.fields)
	if len(d.mistakes) > 0 {
		return d, errors.Join(d.mistakes...)
	}
	if data, err = json.Marshal(d.fields); err != nil {
		return d, err
	}
	if err := protojson.Unmarshal(data, m); err != nil {
		return d, d.blame(m, err)
	}
	return d, nil
}

// blame names the top-level fields because of which m could not be read, since the library
// names at most the innermost one, of the first mistake.
func (d *document) blame(m proto.Message, whole error) error {
	for _, key := range slices.Sorted(maps.Keys(d.fields)) {
		data, err := json.Marshal(map[string]any{key: d.fields[key]})
		if err != nil {
			return err
		}
		if err := protojson.Unmarshal(data, m.ProtoReflect().New().Interface()); err != nil {
			d.mistakes = append(d.mistakes, errors.New(key+": "+plain(err.Error())))
		}
	}
	if len(d.mistakes) == 0 { // two fields that exclude each other
		return errors.New(plain(whole.Error()))
	}
	return errors.Join(d.mistakes...)
}

// plain takes the position out of protojson's message, which is one in a text that the
// user never saw, and the blanks that some builds of the library vary.
func plain(message string) string {
	message = strings.ReplaceAll(message, "\u00a0", " ")
	if _, rest, ok := strings.Cut(message, "): "); ok && strings.HasPrefix(message, "proto: (line ") {
		return rest
	}
	return strings.TrimPrefix(message, "proto: ")
}

// message takes the fields out that md does not have, and judges and spells the others.
func (d *document) message(path string, md protoreflect.MessageDescriptor, fields map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		fd := md.Fields().ByJSONName(key)
		if fd == nil {
			fd = md.Fields().ByName(protoreflect.Name(key))
		}
		at := join(path, key)
		if fd == nil {
			u := Unknown{Path: at}
			if len(d.unknown) < mostSuggestions {
				u.Nearest = suggest.Name(key, names(md))
			}
			d.unknown = append(d.unknown, u)
			delete(fields, key)
			continue
		}
		fields[key] = d.field(at, fd, fields[key])
	}
}

func (d *document) field(path string, fd protoreflect.FieldDescriptor, value any) any {
	switch {
	case fd.IsMap():
		entries := object(value)
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			entries[key] = d.single(join(path, key), fd.MapValue(), entries[key])
		}
	case fd.IsList():
		list, _ := value.([]any)
		for i, v := range list {
			list[i] = d.single(fmt.Sprintf("%s[%d]", path, i), fd, v)
		}
	default:
		return d.single(path, fd, value)
	}
	return value
}

// single judges one value and returns it as protojson wants it, which judges the rest.
func (d *document) single(path string, fd protoreflect.FieldDescriptor, value any) any {
	switch {
	case value == nil:
	case fd.Enum() != nil && !member(fd.Enum(), value):
		d.mistake(path, value, "one of "+strings.Join(choices(fd.Enum()), ", "))
	case fd.Kind() == protoreflect.StringKind && bare(value):
		// The commonest mistake: YAML reads true, on and 10 as something else than words.
		d.mistakes = append(d.mistakes, fmt.Errorf("%s: %v is not a text, write it in quotes: %q", path, value, fmt.Sprint(value)))
	case fd.Message() == nil:
	case fd.Message().FullName() == "google.protobuf.Duration":
		text, _ := value.(string)
		long, err := time.ParseDuration(text)
		if err != nil {
			d.mistake(path, value, "a duration, write a number with a unit such as 500ms, 30s or 1m")
			break
		}
		// protojson knows seconds only; Istio takes every unit.
		return json.RawMessage(protojson.Format(durationpb.New(long)))
	case strings.HasPrefix(string(fd.Message().FullName()), "google.protobuf."):
		// Has a JSON form of its own.
	default:
		d.message(path, fd.Message(), object(value))
	}
	return value
}

// bare reports whether value is a word or number that YAML does not read as a text.
func bare(value any) bool {
	switch value.(type) {
	case bool, json.Number:
		return true
	}
	return false
}

func (d *document) mistake(path string, value any, wanted string) {
	d.mistakes = append(d.mistakes, fmt.Errorf("%s: %q is not %s", path, fmt.Sprint(value), wanted))
}

// member reports whether value is the name or the number of one of the values of an enum.
func member(ed protoreflect.EnumDescriptor, value any) bool {
	switch v := value.(type) {
	case string:
		return ed.Values().ByName(protoreflect.Name(v)) != nil
	case json.Number:
		n, err := v.Int64()
		return err == nil && int64(int32(n)) == n && ed.Values().ByNumber(protoreflect.EnumNumber(n)) != nil
	}
	return false
}

func choices(ed protoreflect.EnumDescriptor) []string {
	var out []string
	for i := range ed.Values().Len() {
		out = append(out, string(ed.Values().Get(i).Name()))
	}
	return out
}

// names lists the fields of md as a user writes them, sorted.
func names(md protoreflect.MessageDescriptor) []string {
	var out []string
	for i := range md.Fields().Len() {
		out = append(out, md.Fields().Get(i).JSONName())
	}
	slices.Sort(out)
	return out
}

// object is a value that is one, else nothing.
func object(value any) map[string]any {
	fields, _ := value.(map[string]any)
	return fields
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
