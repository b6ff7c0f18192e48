package plan

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
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
		config := parseInput(t, in)
		var out bytes.Buffer
		for _, f := range []rule.Family{rule.IPv4, rule.IPv6} {
			fmt.Fprintf(&out, "# %s\n%s", f, Build(config, f).Text(f))
		}
		return out.Bytes()
	})
}

// parseInput reads the settings of a golden.
func parseInput(t *testing.T, in []byte) capture.Config {
	t.Helper()
	var input struct {
		Args    []string          `json:"args"`
		Env     map[string]string `json:"env"`
		Servers []netip.Addr      `json:"servers"` // what resolv.conf lists
	}
	if err := yaml.UnmarshalStrict(in, &input); err != nil {
		t.Fatal(err)
	}
	config, _, err := capture.Parse(input.Args, func(k string) string { return input.Env[k] })
	if err != nil {
		t.Fatal(err)
	}
	config.DNSServers = input.Servers
	return config
}

// TestPlanIsFoundByTableNat: a run looks into that table to find out whether an earlier one
// left something anywhere.
func TestPlanIsFoundByTableNat(t *testing.T) {
	for _, mode := range []capture.Mode{capture.Redirect, capture.TProxy} {
		for _, line := range []string{"", "-b *", "-b 80 -k eth1", "-c eth0 --drop-invalid", "-i * -o 1 -g 5", "-i 10.0.0.0/8"} {
			config, _, err := capture.Parse(append(strings.Fields(line), "-m", string(mode)), func(string) string { return "" })
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range []rule.Family{rule.IPv4, rule.IPv6} {
				if got := Build(config, f); len(got.Rules[rule.Nat].Chains) == 0 {
					t.Errorf("%s %q, %s: no chain in table nat:\n%s", mode, line, f, got.Text(f))
				}
			}
		}
	}
}
