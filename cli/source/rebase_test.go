package source

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRebase: an assignment's effect on the chart's configuration is made on one that the
// chart did not write, whose own settings stay.
func TestRebase(t *testing.T) {
	const live = "policy: enabled\nneverInjectSelector: []\ntemplates:\n  mine: |\n    spec: {}\n  sidecar: theirs\n"
	const before = "policy: enabled\nneverInjectSelector: []\ndefaultTemplates: [sidecar]\n"
	tests := []struct{ name, live, after, want string }{
		{"nothing assigned", live, before, live},
		{"the chart's own", before, "policy: disabled\n", "policy: disabled\n"},
		{
			"a selector", live, "policy: enabled\nneverInjectSelector:\n- matchLabels: {app: x}\ndefaultTemplates: [sidecar]\n",
			"neverInjectSelector:\n- matchLabels:\n    app: x\npolicy: enabled\ntemplates:\n  mine: |\n    spec: {}\n  sidecar: theirs\n",
		},
		{
			"a template beside the others", live, before + "templates: {more: text}\n",
			"neverInjectSelector: []\npolicy: enabled\ntemplates:\n  mine: |\n    spec: {}\n  more: text\n  sidecar: theirs\n",
		},
		{"a setting taken away", "policy: enabled\ndefaultTemplates: [mine]\n", "policy: enabled\nneverInjectSelector: []\n", "policy: enabled\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := rebase(tt.live, before, tt.after)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
	if _, err := rebase("a: [", before, "policy: disabled\n"); err == nil {
		t.Error("a configuration that is no YAML was changed")
	}
}
