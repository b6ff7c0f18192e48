package plan

import (
	"bytes"
	"fmt"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/internal/capture"
	"github.com/sluicemesh/sluice/internal/golden"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// TestBuild plans for the arguments in each input, both families, and writes what would be
// loaded into an empty table.
func TestBuild(t *testing.T) {
	golden.Run(t, "testdata", "yaml", "rules", func(t *testing.T, in []byte) []byte {
		var input struct {
			Args []string          `json:"args"`
			Env  map[string]string `json:"env"`
		}
		if err := yaml.UnmarshalStrict(in, &input); err != nil {
			t.Fatal(err)
		}
		config, _, err := capture.Parse(input.Args, func(k string) string { return input.Env[k] })
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		for _, f := range []rule.Family{rule.IPv4, rule.IPv6} {
			fmt.Fprintf(&out, "# %s\n%s", f, Build(config, f).Text(f))
		}
		return out.Bytes()
	})
}
