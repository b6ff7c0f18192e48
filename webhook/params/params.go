// Package params resolves what is injected into one pod: the pod's annotations and
// labels over the mesh configuration over the chart's values over built-in defaults.
//
// Everything that can be wrong in the user's text is found here, all of it in one pass,
// and returned as problems; render then only edits. The package is pure.
package params

import (
	meshv1alpha1 "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/capture"
	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/internal/problem"
)

// Template is what is injected.
type Template string

// The templates that render writes itself, as users name them in the annotation
// inject.istio.io/templates.
const (
	Sidecar Template = "sidecar"
	Gateway Template = "gateway"
	// None is chosen where text templates alone say what is injected.
	None Template = ""
)

// Input is what one pod's parameters are resolved from. Nothing of it is modified.
type Input struct {
	// Pod is the user's pod, without what an earlier injection added.
	Pod *corev1.Pod
	// Namespace is the request's; it counts only when the pod names none, and may be empty
	// where a file is injected.
	Namespace string
	Defaults  *Defaults
	// Catalog may be nil: there are the native templates then.
	Catalog *Catalog
	// Native says that the pod may use native sidecars where it does not say itself.
	Native bool
	// Path holds the settings of the request's path.
	Path Path
}

// Path is what the request's path says about the cluster that calls.
type Path struct {
	Cluster, Network string
	// Env holds further variables of the proxy by name.
	Env map[string]string
}

// Params is everything that render needs to know beside the pod. It shares memory with
// the Defaults it was resolved from and with the pod; render copies what it places.
type Params struct {
	Template Template
	// Templates are the text templates that are laid over it, in order.
	Templates []string
	Native    bool // the proxy is a restartable init container
	Hold      bool // the proxy comes first and the others wait for it
	Revision  string

	// Config is the proxy's effective configuration, shared: not to be modified.
	Config *meshv1alpha1.ProxyConfig

	Workload  Workload
	Mesh      Mesh
	Images    Images
	Logs      Logs
	Proxy     Container
	Health    Health
	Capture   capture.Config // mode None: no init container
	Metrics   Metrics
	PathEnv   map[string]string // variables of the request's path, by name
	UserProxy *corev1.Container // the user's own istio-proxy, nil for none
	UserInit  *corev1.Container // the user's own istio-init, nil for none
}

// Workload identifies the pod's owner.
type Workload struct {
	Namespace  string // empty where unknown
	Name       string
	Kind       string
	APIVersion string
}

// Mesh is what the proxy is told about the mesh.
type Mesh struct {
	ID, TrustDomain  string
	Cluster, Network string
	ClusterDomain    string
	CAAddress        string
	CertProvider     string
	ProxyConfig      string            // JSON, differences from the built-in ProxyConfig
	Metadata         map[string]string // proxyMetadata: environment of proxy and init container
	Interception     string
}

// Images are complete image references.
type Images struct {
	Proxy, Init string
	PullPolicy  corev1.PullPolicy // empty for the API server's default
	PullSecrets []string
}

// Logs are the log levels, as arguments spell them.
type Logs struct {
	Proxy, Component, Agent string
	JSON                    bool // agent and init container log JSON
}

// Container is how the proxy container runs.
type Container struct {
	UID, GID   int64
	Privileged bool
	Seccomp    *corev1.SeccompProfile
	Resources  corev1.ResourceRequirements
	Lifecycle  *corev1.Lifecycle // verbatim, nil for the proxy's own hooks
	// PodSecurity is the pod-wide context of a gateway; nil for the built-in one.
	PodSecurity *corev1.PodSecurityContext
}

// Health is how the proxy and the application are probed.
type Health struct {
	StatusPort uint16 // 0: no probes, no drain hook, no rewriting
	// Startup is the failure threshold of the startup probe, 0 for no probe.
	Startup                                   int32
	ReadyInitialDelay, ReadyPeriod, ReadyFail int32
	Rewrite                                   bool // application probes go through the agent
	Localhost                                 bool // the agent probes localhost instead of the pod's address
}

// Resolve returns the parameters of one pod and the list of all problems, in a stable
// order. When one of them is fatal the pod must be refused and Params not be used; the
// others are warnings for the user.
func Resolve(in Input) (Params, []problem.Problem) {
	r := newReader(in)
	base, texts := r.templates()
	p := Params{
		Template:  base,
		Templates: texts,
		Revision:  in.Defaults.Revision,
		Workload:  workload(in.Pod, in.Namespace),
		Logs:      r.logs(),
		PathEnv:   in.Path.Env,
	}
	p.UserProxy = find(in.Pod, meta.ProxyContainer)
	p.UserInit = find(in.Pod, meta.InitContainer)
	config := r.proxyConfig()
	p.Config = config
	p.Health = r.health(config)
	r.status = p.Health.StatusPort
	p.Proxy = r.container(p)
	p.Images = r.images(config)
	p.Capture = r.capture(config, p)
	p.Mesh = r.mesh(config, p)
	p.Native = r.native(p)
	p.Hold = r.hold(config, p.Native)
	p.Metrics = r.metrics()
	r.unknown()
	return p, r.problems
}

// find returns the container of the pod with the name, wherever it is.
func find(pod *corev1.Pod, name string) *corev1.Container {
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}
