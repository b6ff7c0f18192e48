package params

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTemplates(t *testing.T) {
	catalog := func(def ...string) *Catalog {
		return &Catalog{
			Default: def, Texts: map[string]bool{"custom": true, "spire": true},
			Aliases: map[string][]string{"both": {"sidecar", "spire"}, "again": {"both"}},
		}
	}
	replaced := &Catalog{Texts: map[string]bool{"sidecar": true, "custom": true}}
	asked := func(s string) *string { return &s }
	tests := []struct {
		name    string
		catalog *Catalog
		asked   *string
		base    Template
		texts   []string
		problem string
	}{
		{"nothing", nil, nil, Sidecar, nil, ""},
		{"a mesh with templates, none asked for", catalog(), nil, Sidecar, nil, ""},
		{"default", catalog("sidecar", "custom"), nil, Sidecar, []string{"custom"}, ""},
		{"the pod against the default", catalog("sidecar", "custom"), asked("gateway"), Gateway, nil, ""},
		{"blanks and order", catalog(), asked(" spire, sidecar ,custom"), Sidecar, []string{"spire", "custom"}, ""},
		{"twice", catalog(), asked("custom,sidecar,custom"), Sidecar, []string{"custom"}, ""},
		{"alias", catalog(), asked("both,custom"), Sidecar, []string{"spire", "custom"}, ""},
		{"alias of an alias", catalog(), asked("again"), None, nil, `template "both" does not exist, there are again, both, custom, gateway, sidecar, spire [UnknownTemplate]`},
		{"a text alone", catalog(), asked("custom"), None, []string{"custom"}, ""},
		{"a text in place of the sidecar", replaced, nil, None, []string{"sidecar"}, ""},
		{"a text in place of the sidecar, over a gateway", replaced, asked("gateway,sidecar"), Gateway, []string{"sidecar"}, ""},
		{"unknown", nil, asked("sidecar,spiffe"), Sidecar, nil, `template "spiffe" does not exist, there are gateway, sidecar [UnknownTemplate]`},
		{"both natives", nil, asked("sidecar,gateway"), Sidecar, nil, `"sidecar,gateway" names both sidecar and gateway, write one of them [InvalidAnnotation]`},
		{"empty", nil, asked(" ,"), None, nil, `" ," does not name a template, there are gateway, sidecar [InvalidAnnotation]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web"}}
			if tt.asked != nil {
				pod.Annotations = map[string]string{"inject.istio.io/templates": *tt.asked}
			}
			r := newReader(Input{Pod: pod, Catalog: tt.catalog})
			base, texts := r.templates()
			if base != tt.base || !cmp.Equal(texts, tt.texts) {
				t.Errorf("templates = %q, %v; want %q, %v", base, texts, tt.base, tt.texts)
			}
			var got []string
			for _, p := range r.problems {
				got = append(got, strings.TrimPrefix(p.String(), "Pod web: metadata.annotations[inject.istio.io/templates]: "))
				if !p.Fatal {
					t.Errorf("%s is not fatal", p)
				}
			}
			if text := strings.Join(got, "\n"); text != tt.problem {
				t.Errorf("problems:\n%s\nwant:\n%s", text, tt.problem)
			}
		})
	}
}

func TestCatalogUnknown(t *testing.T) {
	c := &Catalog{
		Default: []string{"sidecar", "gatewy"}, Texts: map[string]bool{"custom": true},
		Aliases: map[string][]string{"fine": {"sidecar", "custom"}, "odd": {"custom", "spirre", "gatewy"}},
	}
	if diff := cmp.Diff([]string{"gatewy", "spirre"}, c.Unknown()); diff != "" {
		t.Errorf("unknown (-want +got):\n%s", diff)
	}
}
