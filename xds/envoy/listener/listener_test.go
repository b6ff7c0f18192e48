package listener

import (
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"github.com/sluicemesh/sluice/internal/golden"
	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy/fixture"
	"github.com/sluicemesh/sluice/xds/ir"
)

// input is one golden file: the listeners of one proxy.
type input struct {
	Mesh     ir.Mesh
	Class    class.Class
	Outbound []Outbound
	Gateway  []Gateway
	Virtual  bool // virtualOutbound
	Inbound  *Inbound
}

func (in input) build() []*listenerv3.Listener {
	k := KeyOf(in.Mesh, in.Class)
	var out []*listenerv3.Listener
	add := func(l *listenerv3.Listener) {
		if l != nil {
			out = append(out, l)
		}
	}
	for _, o := range in.Outbound {
		add(BuildOutbound(o, k))
	}
	for _, g := range in.Gateway {
		add(BuildGateway(g, k))
	}
	if in.Virtual {
		add(VirtualOutbound(k))
	}
	if in.Inbound != nil {
		add(VirtualInbound(*in.Inbound, k))
	}
	return out
}

func TestGolden(t *testing.T) {
	golden.Run(t, "testdata", "yaml", "yaml", func(t *testing.T, data []byte) []byte {
		var in input
		if err := fixture.Decode(data, &in); err != nil {
			t.Fatal(err)
		}
		var out []proto.Message
		for _, l := range in.build() {
			out = append(out, l)
		}
		return fixture.YAML(t, out...)
	})
}
