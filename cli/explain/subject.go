package explain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluicemesh/sluice/cli/document"
	"github.com/sluicemesh/sluice/cli/target"
	"github.com/sluicemesh/sluice/cli/workload"
	"github.com/sluicemesh/sluice/internal/meta"
)

// subject is one object that is asked about.
type subject struct {
	title     string
	namespace string
	pod       *corev1.Pod
	// running is true for a pod of the cluster.
	running bool
}

// injected reports whether a running pod has the proxy.
func (s subject) injected() bool {
	_, ok := s.pod.Annotations[meta.Status]
	return ok
}

// chosen are the objects that a user names.
type chosen struct {
	args   []string
	files  []string
	labels string // of pods that do not exist yet
}

// subjects reads them. Labels of namespaces in files hold for the files' objects.
func (c chosen) subjects(ctx context.Context, t *target.Target, w *world) ([]subject, error) {
	var out []subject
	for _, name := range c.files {
		docs, err := readFile(t, name)
		if err != nil {
			return nil, err
		}
		found, err := ofFile(t, w, docs)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, found...)
	}
	if len(c.args) > 0 {
		s, err := ofCluster(ctx, w, c.args)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if c.labels != "" {
		set, err := labels.ConvertSelectorToLabelsMap(c.labels)
		if err != nil {
			return nil, fmt.Errorf("labels %q: %w", c.labels, err)
		}
		pod := &corev1.Pod{}
		pod.Labels = set
		out = append(out, subject{title: "a pod with labels " + c.labels, namespace: t.DefaultNamespace(), pod: pod})
	}
	if len(out) == 0 {
		return nil, errors.New("there is no object that makes pods; name POD, KIND/NAME or a file")
	}
	return out, nil
}

func readFile(t *target.Target, name string) ([]*document.Document, error) {
	var text []byte
	var err error
	if name == "-" {
		text, err = io.ReadAll(t.In)
	} else {
		text, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, fmt.Errorf("read objects: %w", err)
	}
	return document.Read(name, text)
}

// ofFile takes the objects of a file that make pods, and the labels of its namespaces.
func ofFile(t *target.Target, w *world, docs []*document.Document) ([]subject, error) {
	var out []subject
	for _, d := range docs {
		if name, set, ok := namespaceOf(d.Object); ok {
			w.given[name] = set
			continue
		}
		items, err := d.Items()
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			namespace := item.Pod.Namespace
			if namespace == "" {
				namespace = t.DefaultNamespace()
			}
			out = append(out, subject{title: workload.Title(item.Object), namespace: namespace, pod: item.Pod})
		}
	}
	return out, nil
}

// namespaceOf reads a Namespace; false for another object.
func namespaceOf(object map[string]any) (name string, set map[string]string, ok bool) {
	if object["kind"] != "Namespace" || object["apiVersion"] != "v1" {
		return "", nil, false
	}
	name, _ = workload.Name(object)
	set = map[string]string{}
	metadata, _ := object["metadata"].(map[string]any)
	given, _ := metadata["labels"].(map[string]any)
	for k, v := range given {
		set[k] = fmt.Sprint(v)
	}
	return name, set, true
}

// ofCluster reads one object of the cluster.
func ofCluster(ctx context.Context, w *world, args []string) (subject, error) {
	ref, err := workload.ParseRef(args)
	if err != nil {
		return subject{}, err
	}
	object, err := w.source.Object(ctx, ref)
	if err != nil {
		return subject{}, err
	}
	pod, ok, err := ref.Kind.Pod(object)
	if err != nil {
		return subject{}, err
	}
	if !ok {
		return subject{}, fmt.Errorf("%s has no pod template of its own; ask about the object that it refers to", workload.Title(object))
	}
	return subject{
		title: workload.Title(object), namespace: w.source.NamespaceOf(ref), pod: pod, running: len(ref.Kind.Template) == 0,
	}, nil
}
