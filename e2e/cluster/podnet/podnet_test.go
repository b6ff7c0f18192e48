package podnet

import (
	"net/netip"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/internal/golden"
)

type input struct {
	Self    string
	Cluster []netip.Prefix
	Nodes   []Node
}

func TestGolden(t *testing.T) {
	golden.Run(t, "testdata", "yaml", "txt", func(t *testing.T, in []byte) []byte {
		var c input
		if err := yaml.UnmarshalStrict(in, &c); err != nil {
			t.Fatal(err)
		}
		for _, node := range c.Nodes {
			if node.Name != c.Self {
				continue
			}
			conflist, err := Conflist(node)
			if err != nil {
				t.Fatal(err)
			}
			return append(conflist, Script(node, c.Nodes, c.Cluster)...)
		}
		t.Fatalf("no node %q", c.Self)
		return nil
	})
}

func TestNodeWithoutPodRange(t *testing.T) {
	_, err := Conflist(Node{Name: "early"})
	if err == nil || err.Error() != "node early has no pod range" {
		t.Errorf("Conflist of a node without range = %v; want an error that names it", err)
	}
}

// A peer that has no address in a family must not get a route in it: ip would refuse the whole script.
func TestPeerWithoutAddress(t *testing.T) {
	self := Node{Name: "a", Pods: []netip.Prefix{netip.MustParsePrefix("fd00::/64")}}
	peer := Node{
		Name: "b", Addresses: []netip.Addr{netip.MustParseAddr("172.18.0.3")}, Pods: []netip.Prefix{netip.MustParsePrefix("fd00:0:0:1::/64")},
	}
	if script := Script(self, []Node{self, peer}, nil); strings.Contains(script, "route") {
		t.Errorf("Script = %q; want no route", script)
	}
}
