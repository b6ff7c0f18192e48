// Package source finds the settings that injection is done with: the cluster's, those of a
// chart with the user's values, or files.
//
// Where there is a cluster with a control plane, the ConfigMaps of its revision are the
// settings, as they are for the webhook itself. Where there is none, the chart is rendered
// as an installation would. Files and assignments of the user's replace or change either.
// The package only reads; what it found where is in its notes, for the user to see.
package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/pflag"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/cli/target"
	"github.com/sluicemesh/sluice/webhook"
	"github.com/sluicemesh/sluice/webhook/params"
)

// patience is how long a cluster may take until it counts as absent.
const patience = 5 * time.Second

// Options are the flags by which a user chooses the settings.
type Options struct {
	MeshConfigFile, MeshConfigMap     string
	InjectConfigFile, InjectConfigMap string
	ValuesFile                        string
	OperatorFile                      string
	Revision                          string
	Sets                              []string
	Offline                           bool
}

// AddFlags adds the flags, named as Istio's users know them.
func (o *Options) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.MeshConfigFile, "meshConfigFile", "", "file with the mesh configuration, in place of the ConfigMap's")
	f.StringVar(&o.MeshConfigMap, "meshConfigMapName", "", "ConfigMap with the mesh configuration, key mesh; empty means istio[-REVISION]")
	f.StringVar(&o.InjectConfigFile, "injectConfigFile", "", "file with the injector's configuration (policy, selectors, templates), in place of the ConfigMap's")
	f.StringVar(&o.InjectConfigMap, "injectConfigMapName", "", "ConfigMap of the injector, keys config and values; empty means istio-sidecar-injector[-REVISION]")
	f.StringVar(&o.ValuesFile, "valuesFile", "", "file with the injector's values, JSON or YAML, in place of the ConfigMap's")
	f.StringVar(&o.OperatorFile, "operatorFileName", "", "file with an IstioOperator object, whose settings are taken in place of the cluster's")
	f.StringVarP(&o.Revision, "revision", "r", "", "revision, or revision tag, of the control plane")
	f.StringArrayVarP(&o.Sets, "set", "s", nil, "one setting over all others, path=value, as global.proxy.logLevel=debug or meshConfig.accessLogFile=/dev/stdout; may be repeated")
	f.BoolVar(&o.Offline, "offline", false, "ask no cluster: built-in settings, files and assignments alone")
}

// Source answers questions about injection.
type Source struct {
	// Notes say where the settings came from, for the user.
	Notes []string

	target *target.Target
	o      Options
	client client.Client // nil without a cluster
	host   string
	chart  *rendered // once it was needed
}

// Open looks for the cluster. A cluster that does not answer is an error only where a flag
// names it.
func Open(ctx context.Context, t *target.Target, o Options) (*Source, error) {
	s := &Source{target: t, o: o}
	if o.Offline {
		return s, nil
	}
	why := s.connect(ctx)
	switch {
	case why == nil:
		return s, nil
	case t.Given() || errors.Is(why, context.Canceled):
		return nil, why
	}
	s.client = nil
	s.note("no cluster: %v", why)
	return s, nil
}

// connect sets the client, if the cluster answers.
func (s *Source) connect(ctx context.Context) error {
	config, err := s.target.RESTConfig()
	if clientcmd.IsEmptyConfig(errors.Unwrap(err)) {
		return errors.New("there is no kubeconfig")
	}
	if err != nil {
		return err
	}
	s.host = config.Host
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if s.client, err = s.target.Client(); err != nil {
		return err
	}
	err = s.client.Get(ctx, client.ObjectKey{Name: s.target.IstioNamespace}, &corev1.Namespace{})
	// Any answer is one, a refusal too.
	if status := apierrors.APIStatus(nil); err == nil || errors.As(err, &status) {
		return nil
	}
	var unreachable *net.OpError
	if errors.As(err, &unreachable) {
		err = unreachable
	}
	return fmt.Errorf("reach the cluster %s: %w", s.host, err)
}

func (s *Source) note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// Cluster returns a client of the cluster; false without one.
func (s *Source) Cluster() (client.Client, bool) { return s.client, s.client != nil }

// Injector injects as one revision's webhook does.
type Injector struct {
	Settings *webhook.Settings
	// Revision is the control plane's, never a tag; "default" for the default one.
	Revision string

	path   params.Path
	native func(node string) bool
	// annotations of a namespace, where the settings make them count; else nil.
	annotations func(ctx context.Context, namespace string) (map[string]string, error)
}

// Inject injects a pod; namespace counts when the pod names none.
func (i *Injector) Inject(ctx context.Context, pod *corev1.Pod, namespace string) (webhook.Result, error) {
	request := webhook.Request{Pod: pod, Namespace: namespace, Native: i.native(pod.Spec.NodeName), Path: i.path}
	if i.annotations != nil {
		if pod.Namespace != "" {
			namespace = pod.Namespace
		}
		var err error
		if request.NamespaceAnnotations, err = i.annotations(ctx, namespace); err != nil {
			return webhook.Result{}, err
		}
	}
	return webhook.Inject(i.Settings, request), nil
}

// texts are the settings as ConfigMaps hold them; absent ones are empty.
type texts struct {
	mesh, config, values string
	install              params.Install
	assigned             bool // the user's assignments are in them
}

// Injector returns the injector of the revision that the options name.
func (s *Source) Injector(ctx context.Context) (*Injector, error) {
	revision, err := s.resolve(ctx, s.o.Revision)
	if err != nil {
		return nil, err
	}
	t, err := s.texts(ctx, revision)
	if err != nil {
		return nil, err
	}
	return s.build(ctx, t)
}

// InjectorOf returns the injector of another revision of the same cluster. Files of the
// options do not hold for it.
func (s *Source) InjectorOf(ctx context.Context, revision string) (*Injector, error) {
	other := *s
	other.o = Options{Revision: revision, OperatorFile: s.o.OperatorFile, Sets: s.o.Sets, Offline: s.o.Offline}
	t, err := other.texts(ctx, revision)
	if err != nil {
		return nil, err
	}
	return other.build(ctx, t)
}

func (s *Source) build(ctx context.Context, t texts) (*Injector, error) {
	settings, err := webhook.NewSettings(webhook.Source{
		Mesh: t.mesh, Config: t.config, Values: t.values, Tag: s.target.Version,
		Install: t.install,
	})
	if err != nil {
		return nil, err
	}
	for _, n := range settings.Notes {
		s.note("warning: %s", n)
	}
	native, err := s.native(ctx, t.values)
	if err != nil {
		return nil, err
	}
	path, err := s.path(ctx, t.install.Revision)
	if err != nil {
		return nil, err
	}
	i := &Injector{Settings: settings, Revision: t.install.Revision, native: native, path: webhook.ParsePath(path)}
	if s.client != nil {
		if settings.ProxyConfigs, err = s.proxyConfigs(ctx, settings.Defaults.Mesh.RootNamespace); err != nil {
			return nil, err
		}
		if settings.Defaults.Values.Global.Platform == "openshift" {
			i.annotations = s.annotations
		}
	}
	return i, nil
}

// native asks for the nodes only where the answer depends on them.
func (s *Source) native(ctx context.Context, values string) (func(string) bool, error) {
	var v struct {
		Pilot struct {
			Env map[string]any `json:"env"`
		} `json:"pilot"`
	}
	if err := yaml.Unmarshal([]byte(values), &v); err != nil {
		return nil, fmt.Errorf("parse values: %w", err)
	}
	mode := ""
	if given, ok := v.Pilot.Env["ENABLE_NATIVE_SIDECARS"]; ok {
		mode = fmt.Sprint(given)
	}
	var nodes corev1.NodeList
	if s.client != nil && (mode == "" || mode == "auto") {
		err := s.client.List(ctx, &nodes)
		if apierrors.IsForbidden(err) {
			s.note("the nodes may not be listed: native sidecars are assumed to work on all of them")
		} else if err != nil {
			return nil, fmt.Errorf("list nodes: %w", err)
		}
	}
	return webhook.NativeSidecars(mode, nodes.Items), nil
}

// path is where the API server sends the reviews of a revision.
func (s *Source) path(ctx context.Context, revision string) (string, error) {
	configs, err := s.Configurations(ctx)
	if apierrors.IsForbidden(err) {
		s.note("the webhook configurations may not be listed: cluster and network are those of the values")
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for i := range configs {
		if c := &configs[i]; c.Labels[labelTag] == "" && c.Labels[labelRevision] == orDefault(revision) && len(c.Webhooks) > 0 {
			return pathOf(&c.Webhooks[0]), nil
		}
	}
	return "", nil
}

// Configurations returns all webhook configurations: the cluster's, else the chart's.
func (s *Source) Configurations(ctx context.Context) ([]admissionv1.MutatingWebhookConfiguration, error) {
	if s.client == nil {
		r, err := s.render()
		if err != nil {
			return nil, err
		}
		return r.webhooks, nil
	}
	var list admissionv1.MutatingWebhookConfigurationList
	if err := s.client.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list webhook configurations: %w", err)
	}
	return list.Items, nil
}

func orDefault(revision string) string {
	if revision == "" {
		return "default"
	}
	return revision
}

func read(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("read settings: %w", err)
	}
	return string(text), nil
}
