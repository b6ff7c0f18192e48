package params

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/wrapperspb"
	meshv1alpha1 "istio.io/api/mesh/v1alpha1"
	networkingv1beta1 "istio.io/client-go/pkg/apis/networking/v1beta1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluicemesh/sluice/internal/meshconfig"
	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/internal/problem"
)

// ProxyConfigs are the ProxyConfig objects of the cluster, ready to be asked for one pod.
// IndexProxyConfigs makes it; it is not modified afterwards. The nil pointer holds none.
type ProxyConfigs struct {
	root       string
	namespaces map[string]*layers
}

// layers are the objects of one namespace.
type layers struct {
	all      *meshv1alpha1.ProxyConfig // of the object without a selector, nil for none
	allOf    problem.Origin
	selected []layer // oldest first
}

// layer is an object with a selector.
type layer struct {
	selector labels.Selector
	config   *meshv1alpha1.ProxyConfig
}

// IndexProxyConfigs sorts the objects; root is the namespace whose object without a
// selector holds for the whole mesh. It returns nil for no usable object, so that pods of
// a mesh without any pay nothing. The problems say what is wrong with which object; one
// with a fatal problem is left out. objects are not modified.
func IndexProxyConfigs(objects []*networkingv1beta1.ProxyConfig, root string) (*ProxyConfigs, []problem.Problem) {
	objects = slices.SortedFunc(slices.Values(objects), func(a, b *networkingv1beta1.ProxyConfig) int {
		return objectOrigin(a).Compare(objectOrigin(b))
	})
	index := &ProxyConfigs{root: root, namespaces: map[string]*layers{}}
	var problems []problem.Problem
	for _, object := range objects {
		config, mistakes := layerConfig(object)
		problems = append(problems, mistakes...)
		if len(mistakes) > 0 {
			continue
		}
		in := index.namespaces[object.Namespace]
		if in == nil {
			in = &layers{}
			index.namespaces[object.Namespace] = in
		}
		if match := object.Spec.GetSelector().GetMatchLabels(); len(match) > 0 {
			in.selected = append(in.selected, layer{labels.SelectorFromSet(match), config})
			continue
		}
		if in.all != nil {
			problems = append(problems, problem.Problem{
				Origin: objectOrigin(object), Path: "spec.selector", Reason: NoEffect,
				Message: in.allOf.String() + " is older and holds for the namespace: add a selector, or remove one of the two",
			})
			continue
		}
		in.all, in.allOf = config, objectOrigin(object)
	}
	if len(index.namespaces) == 0 {
		return nil, problems
	}
	return index, problems
}

func objectOrigin(object *networkingv1beta1.ProxyConfig) problem.Origin {
	return problem.Origin{
		Kind: "ProxyConfig.networking.istio.io", Namespace: object.Namespace, Name: object.Name,
		Generation: object.Generation, Created: object.CreationTimestamp.Time,
	}
}

// layerConfig is what an object says, in the terms of the mesh's configuration.
func layerConfig(object *networkingv1beta1.ProxyConfig) (*meshv1alpha1.ProxyConfig, []problem.Problem) {
	config := &meshv1alpha1.ProxyConfig{
		ProxyMetadata: object.Spec.GetEnvironmentVariables(), Image: object.Spec.GetImage(),
	}
	if c := object.Spec.GetConcurrency(); c != nil {
		config.Concurrency = wrapperspb.Int32(c.GetValue())
	}
	var out []problem.Problem
	err := meshconfig.ValidateProxyConfig(meshconfig.MergeProxyConfig(
		meshconfig.DefaultProxyConfig(), meshconfig.ProxyOverlay{Config: config}))
	for _, mistake := range each(err) {
		path, message, _ := strings.Cut(mistake.Error(), ": ")
		if path == "proxyMetadata" {
			path = "environmentVariables"
		}
		out = append(out, problem.Problem{
			Origin: objectOrigin(object), Path: "spec." + path, Reason: InvalidProxyConfig, Message: message, Fatal: true,
		})
	}
	return config, out
}

// below returns the layers that a pod's annotation goes over, widest first; nil entries
// are left out.
func (c *ProxyConfigs) below(namespace string) []*meshv1alpha1.ProxyConfig {
	if c == nil {
		return nil
	}
	var out []*meshv1alpha1.ProxyConfig
	for _, name := range slices.Compact([]string{c.root, namespace}) {
		if in := c.namespaces[name]; in != nil && in.all != nil {
			out = append(out, in.all)
		}
	}
	return out
}

// above returns the layer that goes over a pod's annotation: the oldest object of the
// pod's namespace that selects it, nil for none.
func (c *ProxyConfigs) above(namespace string, podLabels map[string]string) *meshv1alpha1.ProxyConfig {
	if c == nil || c.namespaces[namespace] == nil {
		return nil
	}
	for _, l := range c.namespaces[namespace].selected {
		if l.selector.Matches(labels.Set(podLabels)) {
			return l.config
		}
	}
	return nil
}

// proxyConfig lays what is said about this pod over the mesh's configuration: objects of
// the root namespace and of the pod's, the annotation, the object that selects the pod.
// Where nothing is, it is the shared one; it must not be modified.
func (r *reader) proxyConfig() *meshv1alpha1.ProxyConfig {
	namespace := firstNonEmpty(r.Pod.Namespace, r.Namespace)
	config := r.Defaults.Mesh.DefaultConfig
	for _, layer := range r.ProxyConfigs.below(namespace) {
		config = meshconfig.MergeProxyConfig(config, meshconfig.ProxyOverlay{Config: layer})
	}
	if text, ok := r.get(meta.ProxyConfig); ok {
		config = r.annotatedConfig(config, text)
	}
	if layer := r.ProxyConfigs.above(namespace, r.Pod.Labels); layer != nil {
		config = meshconfig.MergeProxyConfig(config, meshconfig.ProxyOverlay{Config: layer})
		r.override = r.overriding(layer)
	}
	return config
}

// annotatedConfig lays the pod's annotation over config.
func (r *reader) annotatedConfig(config *meshv1alpha1.ProxyConfig, text string) *meshv1alpha1.ProxyConfig {
	over, err := meshconfig.ParseProxyConfig(text)
	if err != nil {
		r.badEach(meta.ProxyConfig, err)
		return config
	}
	for _, u := range over.Unknown[:min(len(over.Unknown), mostMistakes)] {
		r.warn(meta.ProxyConfig, UnknownField, "%s", u)
	}
	for _, field := range meshconfig.Unread(over.Config) {
		r.warn(meta.ProxyConfig, NoEffect, "%s has no effect in this version of Sluice", field)
	}
	if over.Config.GetProxyBootstrapTemplatePath() != "" {
		// The agent would refuse to start.
		r.report(annotation(meta.ProxyConfig), UnsupportedSetting, true, "proxyBootstrapTemplatePath is not supported: "+
			"write customConfigFile for a whole bootstrap, or the annotation "+meta.BootstrapOverride+" for parts of it")
	}
	// Judged over the built-in one: what is wrong with the mesh's is not the pod's fault.
	err = meshconfig.ValidateProxyConfig(meshconfig.MergeProxyConfig(r.Defaults.builtin, over))
	r.badEach(meta.ProxyConfig, err)
	return meshconfig.MergeProxyConfig(config, over)
}

// overriding is what the agent must be told again, since it reads the annotation after its
// environment: in Istio an annotation beats the object that selects the pod because of it.
// Only a setting that the agent reads counts, the image is the injector's.
func (r *reader) overriding(layer *meshv1alpha1.ProxyConfig) string {
	if _, annotated := r.get(meta.ProxyConfig); !annotated || layer.Concurrency == nil && len(layer.ProxyMetadata) == 0 {
		return ""
	}
	text, err := meshconfig.JSON(&meshv1alpha1.ProxyConfig{Concurrency: layer.Concurrency, ProxyMetadata: layer.ProxyMetadata})
	if err != nil {
		r.bad(meta.ProxyConfig, "%v", err)
	}
	return text
}

// each lists the mistakes that an error joins; none for nil.
func each(err error) []error {
	if err == nil {
		return nil
	}
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return joined.Unwrap()
	}
	return []error{err}
}

// settingError joins the mistakes of a mesh-wide setting into one line.
func settingError(path string, err error) error {
	var words []string
	for _, mistake := range each(err) {
		words = append(words, path+"."+mistake.Error())
	}
	return fmt.Errorf("%s", strings.Join(words, "; "))
}
