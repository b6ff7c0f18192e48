package plan

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicemesh/sluice/internal/capture"
	"github.com/sluicemesh/sluice/internal/golden"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

func TestExplainText(t *testing.T) {
	golden.Run(t, filepath.Join("testdata", "explain"), "yaml", "text", func(t *testing.T, in []byte) []byte {
		config := parseInput(t, in)
		var out bytes.Buffer
		for _, f := range []rule.Family{rule.IPv4, rule.IPv6} {
			fmt.Fprintf(&out, "# %s\n%s", f, ExplainText(Build(config, f), config))
		}
		return out.Bytes()
	})
}

// TestEveryRuleIsExplained: and no reason is there for nothing.
func TestEveryRuleIsExplained(t *testing.T) {
	used := map[string]bool{}
	for config := range inputs(t) {
		for _, f := range []rule.Family{rule.IPv4, rule.IPv6} {
			p := Build(config, f)
			got := Explain(p, config)
			if len(got) != p.Rules.Len() {
				t.Errorf("%q: %d rules and %d explanations:\n%s", config.Args(), p.Rules.Len(), len(got), ExplainText(p, config))
			}
			for _, e := range got {
				used[e.Rule.Why+"/"+e.Why] = true
				if e.Why == "" || e.Option == "" || strings.HasSuffix(e.Option, "=") {
					t.Errorf("%q: %s is explained by %q and %q", config.Args(), e.Rule, e.Why, e.Option)
				}
			}
		}
	}
	for _, r := range reasons() {
		if !used[r.why+"/"+r.sentence] {
			t.Errorf("nothing is explained by %s: %s", r.why, r.sentence)
		}
	}
}

// inputs are the settings of all goldens.
func inputs(t *testing.T) func(yield func(capture.Config) bool) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "*.in.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	return func(yield func(capture.Config) bool) {
		for _, file := range files {
			in, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !yield(parseInput(t, in)) {
				return
			}
		}
	}
}
