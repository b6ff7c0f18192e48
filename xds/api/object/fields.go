package object

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Supported is the set of fields that a conversion reads, as paths of JSON names without
// positions: "http.match.uri". A path that ends in ".*" stands for everything below it.
//
// The value is true for the paths themselves and false for the messages above them.
type Supported map[string]bool

// Fields makes a Supported of a list of words separated by white space.
func Fields(list string) Supported {
	out := Supported{}
	for w := range strings.FieldsSeq(list) {
		for i, c := range w {
			if c == '.' && !out[w[:i]] {
				out[w[:i]] = false
			}
		}
		out[w] = true
	}
	return out
}

// Unsupported notes each field that is set in m and that a conversion does not read. It
// looks for what is missing in supported rather than for a list of exceptions, so that
// a field that is new in the API cannot be ignored in silence.
func (n *Notes) Unsupported(m proto.Message, supported Supported) {
	n.walk(m.ProtoReflect(), "", "spec", supported)
}

// walk visits the set fields of m. bare is the path without positions, path the one that
// the user reads.
func (n *Notes) walk(m protoreflect.Message, bare, path string, supported Supported) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if !m.Has(fd) {
			continue
		}
		below := strings.TrimPrefix(bare+"."+fd.JSONName(), ".")
		at := path + "." + fd.JSONName()
		if supported[below+".*"] {
			continue
		}
		read, known := supported[below]
		if fd.IsMap() || fd.Kind() != protoreflect.MessageKind || read || !known {
			if !read {
				n.Warn(at, NotSupported, "the field is not supported yet and has no effect; remove it")
			}
			continue
		}
		if !fd.IsList() {
			n.walk(m.Get(fd).Message(), below, at, supported)
			continue
		}
		for j := range m.Get(fd).List().Len() {
			n.walk(m.Get(fd).List().Get(j).Message(), below, fmt.Sprintf("%s[%d]", at, j), supported)
		}
	}
}
