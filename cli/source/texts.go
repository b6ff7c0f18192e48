package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/cli/settings"
	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/manifests"
	"github.com/sluicemesh/sluice/webhook"
	"github.com/sluicemesh/sluice/webhook/params"
)

// Labels of the webhook configurations.
const (
	labelRevision = meta.Revision
	labelTag      = meta.Tag
)

// defaultNamespace is the control plane's where nobody says.
const defaultNamespace = "istio-system"

// rendered is what the chart gives.
type rendered struct {
	texts    texts
	webhooks []admissionv1.MutatingWebhookConfiguration
}

// resolve turns a revision tag into its revision. Only the cluster knows tags.
func (s *Source) resolve(ctx context.Context, name string) (string, error) {
	if name == "" || name == "default" || s.client == nil {
		return name, nil
	}
	var list admissionv1.MutatingWebhookConfigurationList
	err := s.client.List(ctx, &list, client.MatchingLabels{labelTag: name})
	if apierrors.IsForbidden(err) {
		return name, nil // the name is that of a revision then
	}
	if err != nil {
		return "", fmt.Errorf("look for the revision tag %s: %w", name, err)
	}
	if len(list.Items) > 0 {
		return list.Items[0].Labels[labelRevision], nil
	}
	return name, nil
}

// texts returns the settings of a revision, each from its file, else from the cluster, else
// from the chart, with the user's assignments over all.
func (s *Source) texts(ctx context.Context, revision string) (texts, error) {
	t, err := s.base(ctx, revision)
	if err != nil {
		return texts{}, err
	}
	for _, f := range []struct {
		name string
		text *string
	}{{s.o.MeshConfigFile, &t.mesh}, {s.o.InjectConfigFile, &t.config}, {s.o.ValuesFile, &t.values}} {
		if f.name == "" {
			continue
		}
		if *f.text, err = read(f.name); err != nil {
			return texts{}, err
		}
		t.assigned = false
	}
	if s.o.ValuesFile != "" {
		// Values are JSON in the ConfigMap; people write YAML, which JSON is part of.
		values, err := yaml.YAMLToJSON([]byte(t.values))
		if err != nil {
			return texts{}, fmt.Errorf("read %s: %w", s.o.ValuesFile, err)
		}
		t.values = string(values)
	}
	if len(s.o.Sets) > 0 && !t.assigned {
		return s.assign(t)
	}
	return t, nil
}

// fromCluster reports whether the cluster's ConfigMaps are asked.
func (s *Source) fromCluster() bool { return s.client != nil && s.o.OperatorFile == "" }

// base is the settings below the user's files.
func (s *Source) base(ctx context.Context, revision string) (texts, error) {
	o := s.o
	install := params.Install{Revision: orDefault(revision), Namespace: s.target.IstioNamespace}
	if o.MeshConfigFile != "" && o.InjectConfigFile != "" && o.ValuesFile != "" {
		return texts{install: install}, nil
	}
	if s.fromCluster() {
		t, found, err := s.configMaps(ctx, revision)
		t.install = install
		if found || err != nil {
			return t, err
		}
		if o.Revision != "" || o.InjectConfigMap != "" || o.MeshConfigMap != "" {
			mesh, injector := s.names(revision)
			return texts{}, fmt.Errorf("the cluster %s has neither ConfigMap %s nor %s in namespace %s: name an installed revision, or ask with --offline",
				s.host, mesh, injector, s.target.IstioNamespace)
		}
		s.note("cluster %s has no control plane in namespace %s", s.host, s.target.IstioNamespace)
	}
	r, err := s.render()
	if err != nil {
		return texts{}, err
	}
	if s.o.OperatorFile != "" {
		s.note("settings: built in, with %s", s.o.OperatorFile)
	} else {
		s.note("settings: built in")
	}
	return r.texts, nil
}

// names are the ConfigMaps' names.
func (s *Source) names(revision string) (mesh, injector string) {
	mesh, injector = webhook.ConfigMaps(revision)
	if s.o.MeshConfigMap != "" {
		mesh = s.o.MeshConfigMap
	}
	if s.o.InjectConfigMap != "" {
		injector = s.o.InjectConfigMap
	}
	return mesh, injector
}

// configMaps reads the cluster's settings; false when there is neither ConfigMap.
func (s *Source) configMaps(ctx context.Context, revision string) (texts, bool, error) {
	meshName, injectorName := s.names(revision)
	namespace := s.target.IstioNamespace
	var found []string
	get := func(name string) (map[string]string, error) {
		m := &corev1.ConfigMap{}
		err := s.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, m)
		switch {
		case apierrors.IsNotFound(err):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("read ConfigMap %s/%s: %w", namespace, name, err)
		}
		found = append(found, namespace+"/"+name)
		return m.Data, nil
	}
	mesh, err := get(meshName)
	if err != nil {
		return texts{}, false, err
	}
	injector, err := get(injectorName)
	if err != nil {
		return texts{}, false, err
	}
	if len(found) > 0 {
		s.note("settings: cluster %s, ConfigMap %s", s.host, strings.Join(found, " and "))
	}
	return texts{mesh: mesh["mesh"], config: injector["config"], values: injector["values"]}, len(found) > 0, nil
}

// assign lays the user's assignments over settings that the chart did not render with
// them: it is rendered with these as its values.
func (s *Source) assign(t texts) (texts, error) {
	spec := map[string]any{}
	for key, text := range map[string]string{"values": t.values, "meshConfig": t.mesh} {
		var tree map[string]any
		if err := yaml.Unmarshal([]byte(text), &tree); err != nil {
			return texts{}, fmt.Errorf("parse %s: %w", key, err)
		}
		spec[key] = tree
	}
	text, err := yaml.Marshal(map[string]any{"apiVersion": settings.APIVersion, "kind": settings.Kind, "spec": spec})
	if err != nil {
		return texts{}, fmt.Errorf("write the settings: %w", err)
	}
	file := &settings.File{Name: "in force", Text: text}
	before, err := s.renderFile(file, t.install.Revision, nil)
	if err != nil {
		return texts{}, err
	}
	after, err := s.renderFile(file, t.install.Revision, s.o.Sets)
	if err != nil {
		return texts{}, err
	}
	t.mesh, t.values = after.texts.mesh, after.texts.values
	t.config, err = rebase(t.config, before.texts.config, after.texts.config)
	return t, err
}

// render renders the chart with the user's operator file and assignments, once.
func (s *Source) render() (*rendered, error) {
	if s.chart != nil {
		return s.chart, nil
	}
	var file *settings.File
	if name := s.o.OperatorFile; name != "" {
		text, err := read(name)
		if err != nil {
			return nil, err
		}
		file = &settings.File{Name: name, Text: []byte(text)}
	}
	var err error
	s.chart, err = s.renderFile(file, s.o.Revision, s.o.Sets)
	return s.chart, err
}

// renderFile renders the chart istiod; a nil file is none.
func (s *Source) renderFile(file *settings.File, revision string, sets []string) (*rendered, error) {
	request := settings.Request{Revision: revision, Tag: s.target.Version}
	if n := s.target.IstioNamespace; n != defaultNamespace {
		request.Namespace = n // the flag's; else a file may name it
	}
	if file != nil {
		request.Files = append(request.Files, *file)
	}
	for _, set := range sets {
		path, err := settingPath(set)
		if err != nil {
			return nil, err
		}
		request.Sets = append(request.Sets, path)
	}
	chosen, problems := settings.Load(request)
	if len(problems) > 0 {
		return nil, errors.New(problem.Join(problems))
	}
	objects, err := manifests.Render(manifests.Release{
		Chart: manifests.Istiod, Name: "istio", Namespace: chosen.Namespace, Values: chosen.PilotValues(),
	})
	if err != nil {
		return nil, err
	}
	r := &rendered{}
	r.texts.assigned = true
	r.texts.install = params.Install{Revision: orDefault(chosen.Revision), Namespace: chosen.Namespace}
	mesh, injector := webhook.ConfigMaps(chosen.Revision)
	for _, o := range objects {
		data, _ := o.Object["data"].(map[string]any)
		text := func(key string) string { v, _ := data[key].(string); return v }
		switch {
		case o.GetKind() == "ConfigMap" && o.GetName() == mesh:
			r.texts.mesh = text("mesh")
		case o.GetKind() == "ConfigMap" && o.GetName() == injector:
			r.texts.config, r.texts.values = text("config"), text("values")
		case o.GetKind() == "MutatingWebhookConfiguration":
			var w admissionv1.MutatingWebhookConfiguration
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &w); err != nil {
				return nil, fmt.Errorf("read the chart's %s: %w", o.GetName(), err)
			}
			r.webhooks = append(r.webhooks, w)
		}
	}
	return r, nil
}

// settingPath writes a path of the chart's values as one of an IstioOperator, where it is
// below values.
func settingPath(set string) (string, error) {
	values, err := manifests.Defaults(manifests.Istiod)
	if err != nil {
		return "", err
	}
	first := set[:len(set)-len(strings.TrimLeft(set, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"))]
	if slices.Contains(slices.Collect(maps.Keys(values)), first) {
		return "values." + set, nil
	}
	return set, nil
}

// pathOf is the path that a webhook is called at.
func pathOf(w *admissionv1.MutatingWebhook) string {
	c := w.ClientConfig
	switch {
	case c.Service != nil && c.Service.Path != nil:
		return *c.Service.Path
	case c.URL != nil:
		if u, err := url.Parse(*c.URL); err == nil {
			return u.Path
		}
	}
	return ""
}
