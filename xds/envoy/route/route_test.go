package route

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sluicemesh/sluice/internal/golden"
	"github.com/sluicemesh/sluice/xds/envoy/fixture"
	"github.com/sluicemesh/sluice/xds/ir"
)

// input is one golden file: the virtual hosts of one route table.
type input struct {
	Hosts    []VirtualHost
	Defaults []struct {
		Host   VirtualHost
		Target Target
	}
	CatchAll  []ir.OutboundMode
	Blackhole []uint16
	Shells    []string
	Inbound   []InboundPort
}

func (in input) build() []proto.Message {
	var out []proto.Message
	for _, h := range in.Hosts {
		out = append(out, Build(h))
	}
	for _, d := range in.Defaults {
		out = append(out, Default(d.Host, d.Target))
	}
	for _, m := range in.CatchAll {
		out = append(out, CatchAll(m))
	}
	for _, p := range in.Blackhole {
		out = append(out, Blackhole(p))
	}
	for _, name := range in.Shells {
		out = append(out, Shell(name))
	}
	for _, p := range in.Inbound {
		out = append(out, Inbound(p))
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
