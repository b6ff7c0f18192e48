package cluster

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sluicemesh/sluice/internal/golden"
	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy/fixture"
	"github.com/sluicemesh/sluice/xds/ir"
)

// input is one golden file: what clusters are built from.
type input struct {
	Mesh     ir.Mesh
	Families class.Families
	Router   bool
	Outbound []Outbound
	Inbound  []Inbound
	Fixed    bool // the clusters that every proxy has
}

func (in input) build() []proto.Message {
	k := KeyOf(in.Mesh, in.Families, in.Router)
	var out []proto.Message
	for _, o := range in.Outbound {
		if c := BuildOutbound(o, k); c != nil {
			out = append(out, c)
		}
	}
	for _, i := range in.Inbound {
		out = append(out, BuildInbound(i, k))
	}
	if in.Fixed {
		out = append(out, BlackHole(k), Passthrough(k), InboundPassthrough(k))
	}
	return out
}

func TestGolden(t *testing.T) {
	golden.Run(t, "testdata", "yaml", "yaml", func(t *testing.T, data []byte) []byte {
		var in input
		if err := fixture.Decode(data, &in); err != nil {
			t.Fatal(err)
		}
		return fixture.YAML(t, in.build()...)
	})
}
