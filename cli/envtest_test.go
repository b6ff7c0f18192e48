package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// cluster is an API server with what of a cluster the commands wait for.
type cluster struct {
	client.Client
	kubeconfig string
}

// newCluster starts an API server and, beside it, the parts of controllers that make
// Deployments ready, namespaces end, and webhooks have their caBundle.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Fatal("KUBEBUILDER_ASSETS names no folder with kube-apiserver and etcd: make test sets it")
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	env := &envtest.Environment{Scheme: scheme}
	config, err := env.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, env.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	group := errgroup.Group{}
	group.Go(func() error { return control(ctx, c) })
	t.Cleanup(func() {
		cancel()
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	})
	return &cluster{Client: c, kubeconfig: kubeconfig}
}

// define gives the cluster further kinds until the test ends.
func (c *cluster) define(t *testing.T, kinds ...*apiextensionsv1.CustomResourceDefinition) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	options := envtest.CRDInstallOptions{Scheme: c.Scheme(), CRDs: kinds}
	if _, err := envtest.InstallCRDs(config, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := envtest.UninstallCRDs(config, options); err != nil {
			t.Error(err)
		}
	})
}

// attachments is the kind by which pods of OpenShift ask for networks; such clusters have it.
func attachments() *apiextensionsv1.CustomResourceDefinition {
	keep := true
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "network-attachment-definitions.k8s.cni.cncf.io"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "k8s.cni.cncf.io",
			Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{
				Kind: "NetworkAttachmentDefinition", Plural: "network-attachment-definitions", Singular: "network-attachment-definition",
			},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{
					OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &keep},
				},
			}},
		},
	}
}

// control plays the controllers until ctx ends.
func control(ctx context.Context, c client.Client) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, turn := range []func(context.Context, client.Client) error{readyDeployments, endNamespaces, fillBundles} {
			// A conflict or a missing object is another turn's matter.
			if err := turn(ctx, c); client.IgnoreNotFound(err) != nil && ctx.Err() == nil && !isConflict(err) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func isConflict(err error) bool { return strings.Contains(err.Error(), "the object has been modified") }

func readyDeployments(ctx context.Context, c client.Client) error {
	var list appsv1.DeploymentList
	if err := c.List(ctx, &list); err != nil {
		return err
	}
	for _, d := range list.Items {
		n := *d.Spec.Replicas
		if d.Status.ObservedGeneration == d.Generation && d.Status.AvailableReplicas == n {
			continue
		}
		d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n}
		if err := c.Status().Update(ctx, &d); err != nil {
			return err
		}
	}
	return nil
}

func endNamespaces(ctx context.Context, c client.Client) error {
	var list corev1.NamespaceList
	if err := c.List(ctx, &list); err != nil {
		return err
	}
	for _, n := range list.Items {
		if n.DeletionTimestamp == nil {
			continue
		}
		n.Spec.Finalizers = nil
		if err := c.SubResource("finalize").Update(ctx, &n); err != nil {
			return err
		}
	}
	return nil
}

// fillBundles does what the control plane does, as another field manager.
func fillBundles(ctx context.Context, c client.Client) error {
	var list admissionv1.MutatingWebhookConfigurationList
	if err := c.List(ctx, &list); err != nil {
		return err
	}
	for _, m := range list.Items {
		before := m.DeepCopy()
		for i := range m.Webhooks {
			if m.Webhooks[i].ClientConfig.Service != nil { // one at a URL is not the control plane's
				m.Webhooks[i].ClientConfig.CABundle = []byte(bundle)
			}
		}
		if err := c.Patch(ctx, &m, client.MergeFrom(before), client.FieldOwner("istiod")); err != nil {
			return err
		}
	}
	return nil
}

// sluice runs the command on the cluster and returns what it printed and its error.
func (c *cluster) sluice(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := Command(Config{In: strings.NewReader(""), Out: &out, Err: &out, Version: "9.9.9", Program: "sluice"})
	root.SetArgs(append([]string{"--kubeconfig", c.kubeconfig}, args...))
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

// must is sluice for commands that have to succeed.
func (c *cluster) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.sluice(t, args...)
	if err != nil {
		t.Fatalf("sluice %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// create makes objects that are not an installation's.
func (c *cluster) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}
