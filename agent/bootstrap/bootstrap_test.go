package bootstrap_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/agent/bootstrap"
	"github.com/sluicemesh/sluice/agent/internal/envoytest"
	"github.com/sluicemesh/sluice/internal/golden"
)

func encode(t *testing.T, in []byte) []byte {
	t.Helper()
	var p bootstrap.Params
	if err := yaml.UnmarshalStrict(in, &p); err != nil {
		t.Fatal(err)
	}
	out, err := bootstrap.Encode(p)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestGolden compares the bootstrap with its literal form, as YAML for readability and
// because protojson varies its white space.
func TestGolden(t *testing.T) {
	golden.Run(t, "testdata", "yaml", "yaml", func(t *testing.T, in []byte) []byte {
		out, err := yaml.JSONToYAML(encode(t, in))
		if err != nil {
			t.Fatal(err)
		}
		return out
	})
}

func TestEnvoyAcceptsEveryGolden(t *testing.T) {
	binary := envoytest.Binary(t)
	ins, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(ins) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, in := range ins {
		t.Run(filepath.Base(in), func(t *testing.T) {
			data, err := os.ReadFile(in)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "envoy.json")
			if err := os.WriteFile(file, encode(t, data), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), binary, "--mode", "validate", "-c", file, "-l", "warning")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("envoy refuses the bootstrap: %v\n%s", err, out)
			}
			if bytes.Contains(out, []byte("deprecated")) {
				t.Errorf("envoy warns:\n%s", out)
			}
		})
	}
}

func TestEncodeIsJSON(t *testing.T) {
	if out := encode(t, []byte("families: {V4: true}\nnode: {IP: 10.0.0.1}")); !json.Valid(out) {
		t.Errorf("not JSON: %s", out)
	}
}

func TestFamiliesOf(t *testing.T) {
	addrs := func(texts ...string) (out []netip.Addr) {
		for _, s := range texts {
			out = append(out, netip.MustParseAddr(s))
		}
		return out
	}
	for _, c := range []struct {
		name string
		ips  []netip.Addr
		dual bool
		want bootstrap.Families
	}{
		{"v4", addrs("10.0.0.1"), false, bootstrap.Families{V4: true}},
		{"v6", addrs("fd00::1"), false, bootstrap.Families{V6: true, V6First: true}},
		{"both, dual stack off", addrs("10.0.0.1", "fd00::1"), false, bootstrap.Families{V4: true}},
		{"v6 first, dual stack off", addrs("fd00::1", "10.0.0.1"), false, bootstrap.Families{V6: true, V6First: true}},
		{"both", addrs("10.0.0.1", "fd00::1"), true, bootstrap.Families{V4: true, V6: true}},
		{"both, v6 first", addrs("fd00::1", "10.0.0.1"), true, bootstrap.Families{V4: true, V6: true, V6First: true}},
		{"none found", addrs("127.0.0.1", "::1"), false, bootstrap.Families{V4: true}},
	} {
		if got := bootstrap.FamiliesOf(c.ips, c.dual); got != c.want {
			t.Errorf("%s: FamiliesOf = %+v, want %+v", c.name, got, c.want)
		}
	}
}
