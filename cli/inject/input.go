package inject

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sluicemesh/sluice/cli/document"
	"github.com/sluicemesh/sluice/cli/source"
	"github.com/sluicemesh/sluice/cli/target"
	"github.com/sluicemesh/sluice/cli/workload"
)

// input is one file or object, as it was read and as it is edited.
type input struct {
	name string
	text []byte
	docs []*document.Document
}

// read reads the files, then the objects of the cluster.
func (o *options) read(ctx context.Context, t *target.Target, s *source.Source, args []string) ([]*input, error) {
	var inputs []*input
	for _, name := range o.files {
		in, err := readFile(t, name)
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, in)
	}
	for _, arg := range args {
		ref, err := workload.ParseRef([]string{arg})
		if err != nil {
			return nil, err
		}
		object, err := s.Object(ctx, ref)
		if err != nil {
			return nil, err
		}
		doc, err := document.New(written(object))
		if err != nil {
			return nil, err
		}
		docs := []*document.Document{doc}
		inputs = append(inputs, &input{name: arg, text: document.Write(docs), docs: docs})
	}
	return inputs, nil
}

// written is an object without what only the API server writes.
func written(object map[string]any) map[string]any {
	delete(object, "status")
	if meta, ok := object["metadata"].(map[string]any); ok {
		for _, key := range []string{"managedFields", "creationTimestamp", "resourceVersion", "uid", "generation", "selfLink"} {
			delete(meta, key)
		}
	}
	return object
}

func readFile(t *target.Target, name string) (*input, error) {
	var text []byte
	var err error
	switch {
	case name == "-":
		name = "standard input"
		text, err = io.ReadAll(t.In)
	case strings.HasPrefix(name, "http://"), strings.HasPrefix(name, "https://"):
		return nil, fmt.Errorf("%s is not fetched: look at it first, then curl -fsSL %s | sluice kube-inject -f -", name, name)
	default:
		text, err = os.ReadFile(name)
	}
	if err != nil {
		if path := new(os.PathError); errors.As(err, &path) {
			err = path.Err
		}
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	docs, err := document.Read(name, text)
	if err != nil {
		return nil, fmt.Errorf("read %w", err)
	}
	return &input{name: name, text: text, docs: docs}, nil
}
