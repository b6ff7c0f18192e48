// Package document edits the pod templates in streams of YAML or JSON documents and leaves
// all else as it was written.
//
// A document that is not changed comes back byte for byte. In a changed YAML document the
// order of keys, the indentation of lists and the comments stay, as only the fields that
// differ are replaced; a changed JSON document is written anew in its own indentation. The
// package knows nothing of injection: an edit is a function from a pod to a pod. It is pure.
package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"

	yamlv3 "go.yaml.in/yaml/v3"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// Document is one object of a stream, with what separates it from the one before.
type Document struct {
	// Object is the tree that the text means; nil for an empty document.
	Object map[string]any

	before []byte // the separator
	text   []byte
	json   bool
}

// separator is a line that begins a YAML document. What follows the dashes on the same line
// is the document's.
var separator = regexp.MustCompile(`(?m)^---(?:[ \t]|\r?$)`)

// Read splits a stream and reads its documents; name is how messages call it. A document
// that is neither YAML nor JSON, or not one object, is an error.
func Read(name string, stream []byte) ([]*Document, error) {
	if docs, ok, err := readJSON(stream); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	} else if ok {
		return docs, nil
	}
	var docs []*Document
	starts := separator.FindAllIndex(stream, -1)
	at, before := 0, []byte(nil)
	for i := 0; i <= len(starts); i++ {
		end, next := len(stream), len(stream)
		if i < len(starts) {
			end, next = starts[i][0], starts[i][0]+len("---")
		}
		d := &Document{before: before, text: stream[at:end]}
		if err := d.read(); err != nil {
			return nil, fmt.Errorf("%s: document %d: %w", name, i+1, err)
		}
		docs = append(docs, d)
		if i < len(starts) {
			before, at = stream[end:next], next
		}
	}
	return docs, nil
}

// readJSON reads a stream of JSON objects; false when it does not begin with one.
func readJSON(stream []byte) ([]*Document, bool, error) {
	if trimmed := bytes.TrimSpace(stream); len(trimmed) == 0 || trimmed[0] != '{' {
		return nil, false, nil
	}
	var docs []*Document
	decoder := json.NewDecoder(bytes.NewReader(stream))
	for at := int64(0); ; {
		var text json.RawMessage
		err := decoder.Decode(&text)
		switch {
		case errors.Is(err, io.EOF):
			// What is left is white space; it belongs to the stream.
			return append(docs, &Document{before: stream[at:]}), true, nil
		case err != nil && len(docs) == 0:
			return nil, false, nil // YAML may begin with a brace, too
		case err != nil:
			return nil, false, fmt.Errorf("document %d: %w", len(docs)+1, err)
		}
		end := decoder.InputOffset()
		d := &Document{json: true, before: stream[at : end-int64(len(text))], text: text}
		if err := d.read(); err != nil {
			return nil, false, fmt.Errorf("document %d: %w", len(docs)+1, err)
		}
		docs, at = append(docs, d), end
	}
}

// read sets the object from the text.
func (d *Document) read() error {
	data := d.text
	if !d.json {
		if err := single(d.text); err != nil {
			return err
		}
		var err error
		if data, err = yaml.YAMLToJSON(d.text); err != nil {
			return err
		}
	}
	var tree any
	if err := utiljson.Unmarshal(data, &tree); err != nil {
		return err
	}
	object, ok := tree.(map[string]any)
	if !ok && tree != nil {
		return fmt.Errorf("is %.40q and no object", data)
	}
	d.Object = object
	return nil
}

// single refuses a text in which a second document follows without dashes: the library
// would read the first and forget the rest.
func single(text []byte) error {
	decoder := yamlv3.NewDecoder(bytes.NewReader(text))
	for range 2 {
		err := decoder.Decode(new(yamlv3.Node))
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return errors.New("has more than one document: put a line --- between them")
}

// New makes a document of an object.
func New(object map[string]any) (*Document, error) {
	text, err := yaml.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("write an object: %w", err)
	}
	return &Document{Object: object, text: text}, nil
}

// Write joins the documents of files to one stream. Between two files comes a separator,
// unless the second begins with its own or both are JSON.
func Write(files ...[]*Document) []byte {
	var out bytes.Buffer
	json := false // the file before
	for i, docs := range files {
		if i > 0 && len(docs) > 0 {
			endLine(&out)
			own := len(docs) > 1 && len(docs[0].text) == 0
			if bothJSON := json && docs[0].json; !own && !bothJSON {
				out.WriteString("---\n")
			}
		}
		for _, d := range docs {
			out.Write(d.before)
			out.Write(d.text)
		}
		json = len(docs) > 0 && docs[0].json
	}
	return out.Bytes()
}

// endLine adds the line feed that the last document lacks.
func endLine(out *bytes.Buffer) {
	if b := out.Bytes(); len(b) > 0 && b[len(b)-1] != '\n' {
		out.WriteByte('\n')
	}
}
