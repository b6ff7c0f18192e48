package samples_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	istionet "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/samples"
)

// blank returns an empty object of the type that a manifest claims to be.
func blank(m metav1.TypeMeta) metav1.Object {
	switch m.APIVersion + " " + m.Kind {
	case "v1 Service":
		return &corev1.Service{}
	case "v1 ServiceAccount":
		return &corev1.ServiceAccount{}
	case "apps/v1 Deployment":
		return &appsv1.Deployment{}
	case "networking.istio.io/v1 Gateway":
		return &istionet.Gateway{}
	case "networking.istio.io/v1 VirtualService":
		return &istionet.VirtualService{}
	case "networking.istio.io/v1 DestinationRule":
		return &istionet.DestinationRule{}
	case "networking.istio.io/v1 ServiceEntry":
		return &istionet.ServiceEntry{}
	}
	return nil
}

// TestManifests parses every document strictly and compares what there is with a list, by file.
func TestManifests(t *testing.T) {
	want := map[string][]string{
		"demoapp/demoapp.yaml":                 {"Service demoapp"},
		"demoapp/demoappv10.yaml":              {"Deployment demoappv10", "Service demoappv10"},
		"demoapp/demoappv11.yaml":              {"Deployment demoappv11", "Service demoappv11"},
		"demoapp/destinationrule-subsets.yaml": {"DestinationRule default/demoapp"},
		"demoapp/gateway.yaml":                 {"Gateway istio-system/demoapp-gateway"},
		"demoapp/virtualservice-canary.yaml":   {"VirtualService default/demoapp"},
		"demoapp/virtualservice.yaml":          {"VirtualService default/demoapp"},
		"egress/egress-gateway.yaml": {
			"Gateway istio-egressgateway", "DestinationRule egressgateway-for-cnn",
			"VirtualService direct-cnn-through-egress-gateway",
		},
		"egress/serviceentry.yaml":     {"ServiceEntry cnn"},
		"httpbin/httpbin-gateway.yaml": {"Gateway httpbin-gateway", "VirtualService httpbin"},
		"httpbin/httpbin.yaml":         {"ServiceAccount httpbin", "Service httpbin", "Deployment httpbin"},
		"sleep/sleep.yaml":             {"ServiceAccount sleep", "Service sleep", "Deployment sleep"},
	}
	got := map[string][]string{}
	err := fs.WalkDir(samples.Manifests, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := samples.Manifests.ReadFile(name)
		if err != nil {
			return err
		}
		got[name] = parse(t, name, data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects by file (-want +got):\n%s", diff)
	}
}

// parse returns "Kind namespace/name" of each document in data and checks the Deployments.
func parse(t *testing.T, file string, data []byte) []string {
	t.Helper()
	var found []string
	docs := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		var kind metav1.TypeMeta
		if err := strict.Unmarshal(doc, &kind); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		o := blank(kind)
		if o == nil {
			t.Errorf("%s: kind %s %s is not expected here", file, kind.APIVersion, kind.Kind)
			continue
		}
		if err := unmarshal(doc, o); err != nil {
			t.Errorf("%s: %s: %v", file, kind.Kind, err)
		}
		if d, ok := o.(*appsv1.Deployment); ok {
			checkDeployment(t, file, d)
		}
		name := o.GetName()
		if o.GetNamespace() != "" {
			name = o.GetNamespace() + "/" + name
		}
		found = append(found, kind.Kind+" "+name)
	}
}

// unmarshal refuses every field that o does not have. Istio's types take any field in a spec,
// so those are read by protojson, which does not.
func unmarshal(doc []byte, o metav1.Object) error {
	if err := strict.UnmarshalStrict(doc, o); err != nil {
		return err
	}
	var spec proto.Message
	switch o := o.(type) {
	case *istionet.Gateway:
		spec = &o.Spec
	case *istionet.VirtualService:
		spec = &o.Spec
	case *istionet.DestinationRule:
		spec = &o.Spec
	case *istionet.ServiceEntry:
		spec = &o.Spec
	default:
		return nil
	}
	var raw struct{ Spec json.RawMessage }
	if err := strict.Unmarshal(doc, &raw); err != nil {
		return err
	}
	return protojson.Unmarshal(raw.Spec, spec)
}

// TestUnmarshalIsStrict makes sure that the check of the manifests can fail.
func TestUnmarshalIsStrict(t *testing.T) {
	bad := "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: x}\nspec: {selectr: {a: b}}\n"
	if err := unmarshal([]byte(bad), &istionet.Gateway{}); err == nil {
		t.Error("an unknown field in the spec of a Gateway was accepted")
	}
	bad = "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {selectr: {a: b}}\n"
	if err := unmarshal([]byte(bad), &corev1.Service{}); err == nil {
		t.Error("an unknown field in the spec of a Service was accepted")
	}
}

// checkDeployment wants images that the image builder makes, never pulled when loaded.
func checkDeployment(t *testing.T, file string, d *appsv1.Deployment) {
	t.Helper()
	for _, c := range d.Spec.Template.Spec.Containers {
		app := strings.TrimSuffix(strings.TrimSuffix(d.Name, "v10"), "v11")
		if want := "ghcr.io/sluicemesh/" + app + ":1.0"; c.Image != want || c.ImagePullPolicy != corev1.PullIfNotPresent {
			t.Errorf("%s: container %s has image %s (%s), want %s (IfNotPresent)", file, c.Name, c.Image, c.ImagePullPolicy, want)
		}
	}
	for k, v := range d.Spec.Selector.MatchLabels {
		if d.Spec.Template.Labels[k] != v {
			t.Errorf("%s: selector %s=%s does not match the pods' labels", file, k, v)
		}
	}
}

// TestEgressRoutes spells out what the walk-through's egress objects say, hop by hop.
func TestEgressRoutes(t *testing.T) {
	data, err := samples.Manifests.ReadFile("egress/egress-gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	docs := bytes.Split(data, []byte("\n---\n"))
	var vs istionet.VirtualService
	if err := strict.UnmarshalStrict(docs[len(docs)-1], &vs); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range vs.Spec.Http {
		to := h.Route[0].Destination
		got = append(got, h.Match[0].Gateways[0]+" → "+to.Host+" "+to.Subset)
	}
	want := []string{
		"mesh → istio-egressgateway.istio-system.svc.cluster.local cnn",
		"istio-egressgateway → edition.cnn.com ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("hops (-want +got):\n%s", diff)
	}
}
