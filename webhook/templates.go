package webhook

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	meshv1alpha1 "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/webhook/params"
	"github.com/sluicemesh/sluice/webhook/render"
	"github.com/sluicemesh/sluice/webhook/template"
)

// templates are the text templates of a mesh, and what each of them is told about it. It
// is immutable.
type templates struct {
	set     *template.Set
	catalog *params.Catalog
	values  map[string]any
}

// compileTemplates reads the templates of the injector's configuration. values are the
// effective ones, raw the text they were read from, which may hold more than Sluice knows.
func compileTemplates(c injectorConfig, values params.Values, raw string) (*templates, error) {
	all, err := valuesOf(values, raw)
	if err != nil {
		return nil, err
	}
	t := &templates{values: all}
	if t.set, err = template.Compile(template.Config{Texts: c.Templates, Environment: environmentOf(all)}); err != nil {
		return nil, err
	}
	t.catalog = &params.Catalog{Default: c.DefaultTemplates, Aliases: c.Aliases, Texts: map[string]bool{}}
	for _, name := range t.set.Names() {
		t.catalog.Texts[name] = true
	}
	if unknown := t.catalog.Unknown(); len(unknown) > 0 {
		return nil, fmt.Errorf("defaultTemplates or aliases name templates that do not exist: %s", strings.Join(unknown, ", "))
	}
	return t, nil
}

// valuesOf is what templates see as .Values: the effective values over the text, so that
// both the defaults and what only a template knows are there.
func valuesOf(values params.Values, raw string) (map[string]any, error) {
	out := map[string]any{}
	if strings.TrimSpace(raw) != "" {
		if err := utiljson.Unmarshal([]byte(raw), &out); err != nil {
			return nil, fmt.Errorf("parse values: %w", err)
		}
	}
	text, err := json.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("encode values: %w", err)
	}
	var effective map[string]any
	if err := utiljson.Unmarshal(text, &effective); err != nil {
		return nil, fmt.Errorf("encode values: %w", err)
	}
	layOver(out, effective)
	return out, nil
}

// layOver puts what over says into base, keys of maps one by one; null says nothing.
func layOver(base, over map[string]any) {
	for key, v := range over {
		inner, ok := v.(map[string]any)
		if below, both := base[key].(map[string]any); ok && both {
			layOver(below, inner)
			continue
		}
		if _, there := base[key]; v != nil || !there {
			base[key] = v
		}
	}
}

// environmentOf is the control plane's environment as the chart's values name it.
func environmentOf(values map[string]any) map[string]string {
	pilot, _ := values["pilot"].(map[string]any)
	env, _ := pilot["env"].(map[string]any)
	out := make(map[string]string, len(env))
	for name, v := range env {
		if v != nil {
			out[name] = fmt.Sprint(v)
		}
	}
	return out
}

// compose injects with text templates. What these say as labels and annotations counts as
// the pod's own, so parameters and templates are worked out once more where they say any.
func (s *Settings) compose(in params.Input, p params.Params) (*corev1.Pod, []problem.Problem) {
	var out []problem.Problem
	for range 2 {
		overlays, problems := s.overlays(in, p)
		if problem.AnyFatal(problems) {
			return nil, append(out, problems...)
		}
		pod, more := render.Describe(in.Pod, in.Namespace, overlays)
		problems = append(problems, more...)
		if pod == nil {
			return nil, append(out, problems...)
		}
		if pod == in.Pod {
			pod, more = render.Compose(pod, p, overlays)
			return pod, slices.Concat(out, problems, more)
		}
		in.Pod = pod
		if p, out = params.Resolve(in); problem.AnyFatal(out) {
			return nil, out
		}
	}
	return nil, append(out, unsettled(in, p))
}

// unsettled is the problem of templates that say something else when they see what they said.
func unsettled(in params.Input, p params.Params) problem.Problem {
	return problem.Problem{
		Origin: params.Origin(in.Pod, in.Namespace), Reason: render.TemplateFailed, Fatal: true,
		Message: "template " + strings.Join(p.Templates, ", ") +
			": its labels or annotations change when the pod has them already, so a second injection would change the pod",
	}
}

// overlays renders the templates that p names.
func (s *Settings) overlays(in params.Input, p params.Params) ([]render.Overlay, []problem.Problem) {
	var out []render.Overlay
	var problems []problem.Problem
	data := s.dataOf(in.Pod, p)
	for _, name := range p.Templates {
		patch, warnings, err := s.templates.set.Render(name, data)
		report := func(reason, message string, fatal bool) {
			problems = append(problems, problem.Problem{
				Origin: params.Origin(in.Pod, in.Namespace), Reason: reason, Message: message, Fatal: fatal,
			})
		}
		for _, w := range warnings {
			report(render.DubiousTemplate, "template "+name+": "+w, false)
		}
		if err != nil {
			report(render.TemplateFailed, err.Error(), true)
			continue
		}
		out = append(out, render.Overlay{Template: name, Patch: patch})
	}
	return out, problems
}

// dataOf is what templates are told about one pod.
func (s *Settings) dataOf(pod *corev1.Pod, p params.Params) template.Data {
	config := proto.Clone(p.Config).(*meshv1alpha1.ProxyConfig)
	config.StatusPort = int32(p.Health.StatusPort)
	mode := "passthrough"
	if p.Health.Localhost {
		mode = "localhost"
	}
	return template.Data{
		TypeMeta:       metav1.TypeMeta{Kind: p.Workload.Kind, APIVersion: p.Workload.APIVersion},
		DeploymentMeta: template.DeploymentMeta{Name: p.Workload.Name, Namespace: p.Workload.Namespace},
		ObjectMeta:     &pod.ObjectMeta, Spec: &pod.Spec,
		ProxyConfig: config, MeshConfig: s.Defaults.Mesh, Values: s.templates.values, Revision: p.Revision,
		NativeSidecars: p.Native, ProxyImage: p.Images.Proxy, ProxyInitImage: p.Images.Init,
		ProxyUID: p.Proxy.UID, ProxyGID: p.Proxy.GID,
		InboundTrafficPolicyMode: mode, CompliancePolicy: p.Mesh.Compliance,
	}
}
