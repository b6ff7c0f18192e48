package render

import (
	"fmt"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/cli/settings"
	"github.com/sluicemesh/sluice/internal/golden"
	"github.com/sluicemesh/sluice/internal/meshconfig"
	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/manifests"
)

// load reads settings that must be right.
func load(t *testing.T, r settings.Request) settings.Settings {
	t.Helper()
	r.Tag = "9.9.9"
	s, problems := settings.Load(r)
	if len(problems) > 0 {
		t.Fatalf("settings have problems:\n%s", problem.Join(problems))
	}
	return s
}

// TestParts compares what settings install with the expected manifests. The definitions
// are left out there; crds.out.txt has their outline.
func TestParts(t *testing.T) {
	golden.Run(t, "testdata", "yaml", "yaml", func(t *testing.T, in []byte) []byte {
		parts, err := Parts(load(t, settings.Request{Files: []settings.File{{Name: "in", Text: in}}}))
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		for _, p := range parts {
			fmt.Fprintf(&out, "# %s (%s)\n", p.Component, p.Title)
			definitions := 0
			for _, o := range p.Objects {
				if o.GetKind() == "CustomResourceDefinition" {
					definitions++
					continue
				}
				text, err := yaml.Marshal(o.Object)
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&out, "%s---\n", text)
			}
			fmt.Fprintf(&out, "# and %d definitions\n", definitions)
		}
		return []byte(out.String())
	})
}

// TestDefinitions compares the outline of the definitions: what kubectl get crd and kubectl
// api-resources show of them.
func TestDefinitions(t *testing.T) {
	objects, err := manifests.Render(manifests.Release{Chart: manifests.Base})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, o := range objects {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, &crd, true); err != nil {
			t.Fatal(err)
		}
		n := crd.Spec.Names
		fmt.Fprintf(&out, "%s kind=%s short=%s categories=%s scope=%s\n", crd.Name, n.Kind,
			strings.Join(n.ShortNames, ","), strings.Join(n.Categories, ","), crd.Spec.Scope)
		for _, v := range crd.Spec.Versions {
			fmt.Fprintf(&out, "  %s served=%t storage=%t status=%t columns=", v.Name, v.Served, v.Storage,
				v.Subresources != nil && v.Subresources.Status != nil)
			for i, c := range v.AdditionalPrinterColumns {
				fmt.Fprintf(&out, "%s%s:%s", strings.Repeat(",", min(i, 1)), c.Name, c.JSONPath)
			}
			out.WriteString("\n")
		}
	}
	golden.Compare(t, "testdata/crds.txt", []byte(out.String()))
}

// TestMeshConfigReadable reads the mesh configuration of every profile as the control plane
// does, which refuses unknown fields.
func TestMeshConfigReadable(t *testing.T) {
	for _, profile := range manifests.Profiles() {
		t.Run(profile, func(t *testing.T) {
			parts, err := Parts(load(t, settings.Request{Sets: []string{"profile=" + profile}}))
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, p := range parts {
				for _, o := range p.Objects {
					mesh, ok, err := unstructured.NestedString(o.Object, "data", "mesh")
					if err != nil || !ok || o.GetKind() != "ConfigMap" {
						continue
					}
					found = true
					if _, _, err := meshconfig.Parse(mesh); err != nil {
						t.Errorf("control plane refuses the mesh configuration: %v", err)
					}
				}
			}
			if want := profile != "empty" && profile != "remote"; found != want {
				t.Errorf("profile has a mesh configuration: %t, want %t", found, want)
			}
		})
	}
}

// TestYAMLRoundTrip reads back what is printed for kubectl.
func TestYAMLRoundTrip(t *testing.T) {
	parts, err := Parts(load(t, settings.Request{Sets: []string{"profile=demo"}}))
	if err != nil {
		t.Fatal(err)
	}
	text, err := YAML(parts)
	if err != nil {
		t.Fatal(err)
	}
	read, err := manifests.Decode(string(text))
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, p := range parts {
		for _, o := range p.Objects {
			want = append(want, Name(o))
		}
	}
	for _, o := range read {
		got = append(got, Name(o))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("objects in the stream = %q; want %q", got, want)
	}
}
