package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluicemesh/sluice/manifests"
)

// bundle is the root certificate that the control plane would write. The API server wants a
// real one.
const bundle = `-----BEGIN CERTIFICATE-----
MIIBhzCCAS2gAwIBAgIUUBFfy/XhZ5U6bovSZiQ7Rhh4/8kwCgYIKoZIzj0EAwIw
GDEWMBQGA1UECgwNY2x1c3Rlci5sb2NhbDAgFw0yNjExMjEwOTU4MzNaGA8yMTI2
MTAyODA5NTgzM1owGDEWMBQGA1UECgwNY2x1c3Rlci5sb2NhbDBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABOXFe/JIzE3KNYE8MiztkrZ59zKd6UYwiLXGNK4lzAtI
Zl06euiNYfDGzjvdZtPcH5jd7JZ8ZOoLH6zx2WFPyy6jUzBRMB0GA1UdDgQWBBQ/
Sxh5k/3Df4ZgFbmPFpAJmnufwDAfBgNVHSMEGDAWgBQ/Sxh5k/3Df4ZgFbmPFpAJ
mnufwDAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQDCYc1mbckr
JLJFHWqpQiqV0YQmTw7WXySdkWlBjAiJBwIgem1xlh/95vEZaeGwVQVB9d4BqGJx
zUmxFjRL7qX6u+A=
-----END CERTIFICATE-----
`

// TestLifecycle installs, looks, changes and removes on one API server; the steps build on
// each other.
func TestLifecycle(t *testing.T) {
	c := newCluster(t)
	steps := []struct {
		name string
		step func(*testing.T, *cluster)
	}{
		{"dry run changes nothing", dryRun},
		{"not confirmed", notConfirmed},
		{"install demo", installDemo},
		{"definitions are served", definitionsServed},
		{"the control plane's rights", rights},
		{"install again changes nothing", installAgain},
		{"every profile is accepted", everyProfile},
		{"a missing object is named", missingObject},
		{"a second revision", secondRevision},
		{"what the settings no longer have goes", prune},
		{"purge leaves nothing", purge},
	}
	for _, s := range steps {
		if !t.Run(s.name, func(t *testing.T) { s.step(t, c) }) {
			t.Fatalf("step %q failed, the others build on it", s.name)
		}
	}
}

func dryRun(t *testing.T, c *cluster) {
	out := c.must(t, "install", "--set", "profile=demo", "--dry-run")
	for _, want := range []string{
		"would create CustomResourceDefinition virtualservices.networking.istio.io\n",
		"would create Namespace istio-system\n",
		"would create Deployment istio-system/istio-egressgateway\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
	if n := count(t, c, &apiextensionsv1.CustomResourceDefinitionList{}); n != 0 {
		t.Errorf("%d definitions after a dry run; want none", n)
	}
}

func notConfirmed(t *testing.T, c *cluster) {
	out, err := c.sluice(t, "install")
	if err == nil || !strings.Contains(err.Error(), "not confirmed") {
		t.Errorf("install without an answer: error %v; want that it is not confirmed", err)
	}
	want := `This will install the profile "default" (Core, Istiod, Ingress gateways) with revision "default" into the cluster. Proceed? (y/N)`
	if !strings.Contains(out, want) {
		t.Errorf("output lacks %q:\n%s", want, out)
	}
	if n := count(t, c, &apiextensionsv1.CustomResourceDefinitionList{}); n != 0 {
		t.Errorf("%d definitions after no answer; want none", n)
	}
}

func installDemo(t *testing.T, c *cluster) {
	out := c.must(t, "install", "--set", "profile=demo", "-y")
	var ticks []string
	for _, line := range strings.Split(out, "\n") {
		if strings.HasPrefix(line, "✔") {
			ticks = append(ticks, line)
		}
	}
	want := []string{
		"✔ Core installed", "✔ Istiod installed", "✔ Ingress gateways installed",
		"✔ Egress gateways installed", "✔ Installation complete",
	}
	if diff := cmp.Diff(want, ticks); diff != "" {
		t.Errorf("lines with a tick (-want +got):\n%s", diff)
	}
	verified(t, c)
}

// verified runs verify-install, which must be content.
func verified(t *testing.T, c *cluster, args ...string) {
	t.Helper()
	out := c.must(t, append([]string{"verify-install"}, args...)...)
	for _, want := range []string{"✔ Deployment istio-system/istiod", "Checked 15 custom resource definitions\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
	if !strings.HasSuffix(out, "✔ Sluice is installed and verified successfully\n") {
		t.Errorf("output does not end well:\n%s", out)
	}
}

// definitionsServed writes one object in each old version and reads it in the new one.
func definitionsServed(t *testing.T, c *cluster) {
	objects, err := manifests.Render(manifests.Release{Chart: manifests.Base})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), &crd); err != nil {
			t.Fatal(err)
		}
		for _, condition := range crd.Status.Conditions {
			if condition.Type == apiextensionsv1.NonStructuralSchema && condition.Status == apiextensionsv1.ConditionTrue {
				t.Errorf("%s: %s", crd.Name, condition.Message)
			}
		}
	}
	for _, version := range []string{"v1alpha3", "v1beta1", "v1"} {
		vs := object("networking.istio.io/"+version, "VirtualService", "default", "vs-"+version)
		vs.Object["spec"] = map[string]any{"hosts": []any{"a.example.com"}, "http": []any{map[string]any{
			"route": []any{map[string]any{"destination": map[string]any{"host": "a"}}},
		}}}
		c.create(t, vs)
		read := object("networking.istio.io/v1", "VirtualService", "default", "vs-"+version)
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(read), read); err != nil {
			t.Errorf("read what was written as %s: %v", version, err)
		}
	}
	wrong := object("networking.istio.io/v1", "DestinationRule", "default", "wrong")
	wrong.Object["spec"] = map[string]any{"subsets": []any{}}
	if err := c.Create(t.Context(), wrong); !apierrors.IsInvalid(err) {
		t.Errorf("a DestinationRule without a host: %v; want that the schema refuses it", err)
	}
}

// rights asks the API server what the control plane's account may do.
func rights(t *testing.T, c *cluster) {
	for _, tc := range []struct {
		verb, group, resource, name, namespace string
		want                                   bool
	}{
		{"watch", "", "pods", "", "", true},
		{"watch", "", "nodes", "", "", true},
		{"list", "discovery.k8s.io", "endpointslices", "", "", true},
		{"watch", "networking.istio.io", "virtualservices", "", "", true},
		{"create", "authentication.k8s.io", "tokenreviews", "", "", true},
		{"patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "", true},
		{"create", "", "configmaps", "", "default", true},
		{"update", "", "configmaps", "istio-ca-root-cert", "default", true},
		{"patch", "", "configmaps", "istio-ca-root-cert", "default", true},
		{"watch", "", "configmaps", "", "", true},
		{"create", "", "events", "", "default", true},
		{"create", "", "secrets", "", "istio-system", true},
		{"update", "coordination.k8s.io", "leases", "", "istio-system", true},
		{"get", "", "configmaps", "istio", "istio-system", true},

		{"get", "", "configmaps", "other", "default", false},
		{"patch", "", "configmaps", "other", "default", false},
		{"get", "", "secrets", "", "default", false},
		{"list", "", "secrets", "", "", false},
		{"delete", "", "pods", "", "default", false},
		{"update", "networking.istio.io", "virtualservices", "", "default", false},
		{"delete", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "", false},
		{"create", "rbac.authorization.k8s.io", "clusterroles", "", "", false},
	} {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: "system:serviceaccount:istio-system:istiod",
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: tc.verb, Group: tc.group, Resource: tc.resource, Name: tc.name, Namespace: tc.namespace,
			},
		}}
		c.create(t, review)
		if review.Status.Allowed != tc.want {
			t.Errorf("istiod may %s %s/%s %q in %q: %t; want %t", tc.verb, tc.group, tc.resource, tc.name, tc.namespace, review.Status.Allowed, tc.want)
		}
	}
}

// installAgain checks that applying the same writes nothing, not the caBundle either.
func installAgain(t *testing.T, c *cluster) {
	before := versionsOf(t, c)
	c.must(t, "install", "--set", "profile=demo", "-y")
	if diff := cmp.Diff(before, versionsOf(t, c)); diff != "" {
		t.Errorf("resource versions changed (-before +after):\n%s", diff)
	}
	var webhooks admissionv1.MutatingWebhookConfiguration
	if err := c.Get(t.Context(), types.NamespacedName{Name: "istio-sidecar-injector"}, &webhooks); err != nil {
		t.Fatal(err)
	}
	if len(webhooks.Webhooks) != 4 {
		t.Errorf("%d webhooks; want 4", len(webhooks.Webhooks))
	}
	for _, w := range webhooks.Webhooks {
		if string(w.ClientConfig.CABundle) != bundle {
			t.Errorf("webhook %s lost its caBundle", w.Name)
		}
	}
}

// everyProfile lets the server check what each profile would apply.
func everyProfile(t *testing.T, c *cluster) {
	c.define(t, attachments())
	for _, profile := range manifests.Profiles() {
		out := c.must(t, "install", "--set", "profile="+profile, "--dry-run",
			"--set", "components.base.enabled=false", "--set", "values.global.remotePilotAddress=10.0.0.1")
		if profile != "empty" && !strings.Contains(out, "keep Namespace istio-system\n") {
			t.Errorf("profile %s, dry run:\n%s", profile, out)
		}
	}
}

func missingObject(t *testing.T, c *cluster) {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "istio-egressgateway"}}
	if err := c.Delete(t.Context(), service); err != nil {
		t.Fatal(err)
	}
	out, err := c.sluice(t, "verify-install")
	want := "Service istio-system/istio-egressgateway: not found"
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(out, "✘ "+want) {
		t.Errorf("verify-install: error %v; want that it names %q. Output:\n%s", err, want, out)
	}
	if strings.Contains(out, "verified successfully") {
		t.Errorf("output claims success:\n%s", out)
	}
	// With settings that have it not, nothing is missing. A revision needs its record.
	verified(t, c, "--set", "profile=minimal", "--set", "values.pilot.autoscaleEnabled=false")
	if _, err := c.sluice(t, "verify-install", "-r", "none"); err == nil || !strings.Contains(err.Error(), "no installation is recorded") {
		t.Errorf("verify-install of a revision that is not there: %v", err)
	}
	c.must(t, "install", "--set", "profile=demo", "-y")
	verified(t, c)
}

func secondRevision(t *testing.T, c *cluster) {
	c.must(t, "install", "--set", "profile=minimal", "-r", "canary", "-y")
	if out := c.must(t, "verify-install", "-r", "canary"); !strings.Contains(out, "Deployment istio-system/istiod-canary") {
		t.Errorf("verify-install:\n%s", out)
	}
	verified(t, c)
	if out := c.must(t, "uninstall", "--revision", "canary", "--dry-run"); strings.Contains(out, "Deployment istio-system/istiod\n") ||
		strings.Contains(out, "CustomResourceDefinition") || strings.Contains(out, "Namespace") {
		t.Errorf("uninstall of one revision would remove too much:\n%s", out)
	}
	c.must(t, "uninstall", "--revision", "canary", "-y")
	for _, o := range []client.Object{
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "istiod-canary"}},
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "istiod-canary-clusterrole-istio-system"}},
		&admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "istio-sidecar-injector-canary"}},
	} {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
			t.Errorf("%T %s: %v; want not found", o, o.GetName(), err)
		}
	}
	verified(t, c)
	if _, err := c.sluice(t, "uninstall", "--revision", "canary", "-y"); err == nil {
		t.Error("uninstall of a revision that is not there succeeded")
	}
}

func prune(t *testing.T, c *cluster) {
	out := c.must(t, "install", "--set", "profile=minimal", "-y")
	for _, want := range []string{
		"✔ Deployment istio-system/istio-ingressgateway removed, as the settings no longer have it\n",
		"✔ Service istio-system/istio-egressgateway removed, as the settings no longer have it\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
	if n := count(t, c, &appsv1.DeploymentList{}); n != 1 {
		t.Errorf("%d deployments; want the control plane's alone", n)
	}
	verified(t, c)
}

func purge(t *testing.T, c *cluster) {
	root := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "istio-ca-root-cert"}}
	own := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "the-users-own"}}
	key := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "istio-ca-secret"}}
	c.create(t, root, own, key)
	out := c.must(t, "uninstall", "--purge", "-y")
	if !strings.HasSuffix(out, "✔ Uninstall complete\n") {
		t.Errorf("output does not end well:\n%s", out)
	}
	for _, o := range []client.Object{root, key, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "istio-system"}}} {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
			t.Errorf("%T %s: %v; want not found", o, o.GetName(), err)
		}
	}
	for _, list := range []client.ObjectList{
		&apiextensionsv1.CustomResourceDefinitionList{}, &admissionv1.MutatingWebhookConfigurationList{}, &appsv1.DeploymentList{},
	} {
		if n := count(t, c, list); n != 0 {
			t.Errorf("%d left of %T", n, list)
		}
	}
	left := versionsOf(t, c)
	if len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(own), own); err != nil {
		t.Errorf("the user's own ConfigMap: %v", err)
	}
}

// versionsOf maps each object that the labels show as an installation's, or whose name is
// the mesh's, to its resource version.
func versionsOf(t *testing.T, c *cluster) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, list := range []client.ObjectList{
		&apiextensionsv1.CustomResourceDefinitionList{}, &admissionv1.MutatingWebhookConfigurationList{},
		&rbacv1.ClusterRoleList{}, &rbacv1.ClusterRoleBindingList{}, &rbacv1.RoleList{}, &rbacv1.RoleBindingList{},
		&appsv1.DeploymentList{}, &corev1.ServiceList{}, &corev1.ServiceAccountList{}, &corev1.ConfigMapList{},
		&corev1.NamespaceList{},
	} {
		if err := c.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		err := meta.EachListItem(list, func(item runtime.Object) error {
			o := item.(client.Object)
			if strings.Contains(o.GetName(), "istio") || o.GetLabels()["operator.istio.io/component"] != "" {
				found[fmt.Sprintf("%T %s/%s", o, o.GetNamespace(), o.GetName())] = o.GetResourceVersion()
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// count is the number of objects of a kind.
func count(t *testing.T, c *cluster, list client.ObjectList) int {
	t.Helper()
	if err := c.List(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	return meta.LenList(list)
}

func object(apiVersion, kind, namespace, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetAPIVersion(apiVersion)
	o.SetKind(kind)
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}
