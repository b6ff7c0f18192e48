package settings

import (
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/internal/golden"
)

func TestKind(t *testing.T) {
	golden.Run(t, "testdata", "yaml", "yaml", func(t *testing.T, in []byte) []byte {
		var c Cluster
		if err := yaml.UnmarshalStrict(in, &c); err != nil {
			t.Fatal(err)
		}
		out, err := yaml.Marshal(c.Kind())
		if err != nil {
			t.Fatal(err)
		}
		return out
	})
}

func TestParseFamily(t *testing.T) {
	for _, text := range []string{"ipv4", "ipv6", "dual"} {
		if got, err := ParseFamily(text); err != nil || string(got) != text {
			t.Errorf("ParseFamily(%q) = %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "IPv4", "both"} {
		if got, err := ParseFamily(text); err == nil {
			t.Errorf("ParseFamily(%q) = %q; want an error", text, got)
		}
	}
}
