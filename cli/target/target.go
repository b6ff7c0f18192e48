// Package target holds what every verb of the command line shares: where it reads and
// writes, its version, and which cluster and namespaces it acts on.
package target

import (
	"fmt"
	"io"

	"github.com/spf13/pflag"
	networkingv1beta1 "istio.io/client-go/pkg/apis/networking/v1beta1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Target is filled by flags before a verb runs; verbs only read it.
type Target struct {
	In       io.Reader
	Out, Err io.Writer
	// Version is the command's own.
	Version string
	// IstioNamespace is the control plane's, Namespace the one a verb acts on; the latter is
	// empty for the context's.
	IstioNamespace, Namespace string

	// NoColor says that the user's environment forbids colours.
	NoColor bool

	kubeconfig, context string
}

// AddFlags adds the flags of every verb.
func (t *Target) AddFlags(flags *pflag.FlagSet) {
	flags.StringVarP(&t.kubeconfig, "kubeconfig", "c", "", "kubeconfig file")
	flags.StringVar(&t.context, "context", "", "context of the kubeconfig; empty means the current one")
	flags.StringVarP(&t.IstioNamespace, "istioNamespace", "i", "istio-system", "namespace of the control plane")
	flags.StringVarP(&t.Namespace, "namespace", "n", "", "namespace the command acts on")
}

// Given reports whether a flag names the cluster, so that it has to be there.
func (t *Target) Given() bool { return t.kubeconfig != "" || t.context != "" }

// DefaultNamespace is the namespace of the flag, else that of the kubeconfig's context, else
// "default". Nothing is asked of the cluster.
func (t *Target) DefaultNamespace() string {
	if t.Namespace != "" {
		return t.Namespace
	}
	if name, _, err := t.config().Namespace(); err == nil && name != "" {
		return name
	}
	return corev1.NamespaceDefault
}

func (t *Target) config() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = t.kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: t.context}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
}

// RESTConfig reads the kubeconfig, or the pod's own account inside a cluster. Nothing is
// asked of the cluster.
func (t *Target) RESTConfig() (*rest.Config, error) {
	config, err := t.config().ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	// One user at one terminal: the server's own limits are enough.
	config.QPS = -1
	config.UserAgent = "sluice/" + t.Version
	config.WarningHandler = rest.NewWarningWriter(t.Err, rest.WarningWriterOptions{Deduplicate: true})
	return config, nil
}

// Client returns a client that knows the built-in kinds, definitions and ProxyConfig, and any
// other kind as unstructured.
func (t *Target) Client() (client.Client, error) {
	config, err := t.RESTConfig()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, networkingv1beta1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("reach the cluster %s: %w", config.Host, err)
	}
	return c, nil
}
