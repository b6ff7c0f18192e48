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
	// NamespaceAnnotations are those of the pod's namespace; read on OpenShift alone, nil
	// elsewhere.
	NamespaceAnnotations map[string]string
	Defaults             *Defaults
	// Catalog may be nil: there are the native templates then.
	Catalog *Catalog
	// ProxyConfigs are the cluster's objects of that kind, nil for none.
	ProxyConfigs *ProxyConfigs
	// Native says that the pod may use native sidecars where it does not say itself.
	Native bool
	// Path holds the settings of the request's path.
	Path Path
	// Earlier are the containers that an earlier injection added, as they are now; nil for
	// the first one.
	Earlier []corev1.Container
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
	Init      Init
	Health    Health
	Capture   capture.Config // mode None: no init container
	Metrics   Metrics
	Trust     Trust
	Extra     *Extra            // what few pods ask for, nil for nothing
	PathEnv   map[string]string // variables of the request's path, by name
	UserProxy *corev1.Container // the user's own istio-proxy, nil for none
	// Annotations are put on the pod last, over its own.
	Annotations map[string]string
	Earlier     []corev1.Container // Input's
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
	ProxyConfig      string // JSON, differences from the built-in ProxyConfig
	// ProxyConfigOverride is JSON that the agent lays over the pod's annotation, "" for none.
	ProxyConfigOverride string
	Metadata            map[string]string // proxyMetadata: environment of proxy and init container
	Interception        string
	Compliance          string // COMPLIANCE_POLICY, "" for none
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
	UID, GID int64
	// ForceRoot says that the proxy runs as user 0 whatever the user's own container says:
	// nobody else may send from another's address (mode TPROXY).
	ForceRoot    bool
	Capabilities []corev1.Capability // beside none
	Privileged   bool
	// Seccomp is the profile of both containers, nil for the runtime's.
	Seccomp        *corev1.SeccompProfile
	Resources      corev1.ResourceRequirements
	Lifecycle      *corev1.Lifecycle // verbatim, nil for the proxy's own hooks
	STSPort        uint16            // 0: no token exchange
	OutlierLogPath string            // "" for no log of ejected endpoints
	// PodSecurity is the pod-wide context of a gateway; nil for the built-in one.
	PodSecurity *corev1.PodSecurityContext
}

// Init is the container that installs the rules or, where a network plugin installs them
// before any container starts, checks that they are there.
type Init struct {
	Name           string // istio-init or istio-validation
	CNI            bool
	Multus         bool // the plugin is called by Multus, which must be told so
	Privileged     bool
	ForceApply     bool
	NativeNftables bool
	User           *corev1.Container // the user's own container of the name, nil for none
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
		Revision:    in.Defaults.Revision,
		Template:    base,
		Templates:   texts,
		Workload:    workload(in.Pod, in.Namespace),
		Logs:        r.logs(),
		PathEnv:     in.Path.Env,
		Annotations: in.Defaults.Annotations,
		Earlier:     in.Earlier,
	}
	p.UserProxy = r.userProxy()
	p.Init = r.initial()
	config := r.proxyConfig()
	p.Config = config
	p.Health = r.health(config)
	r.status = p.Health.StatusPort
	p.Images = r.images(config)
	p.Capture = r.capture(config, p)
	p.Proxy = r.container(config, p)
	p.Capture.ProxyUIDs, p.Capture.ProxyGIDs = r.owners(p.Proxy)
	r.sharedIdentity(p.Capture)
	r.initEnvironment(config, p)
	p.Mesh = r.mesh(config, p)
	p.Native = r.native(p)
	p.Hold = r.hold(config, p)
	p.Metrics = r.metrics()
	p.Trust = r.trust(config)
	p.Extra = r.extra()
	r.dns()
	r.lenient()
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
