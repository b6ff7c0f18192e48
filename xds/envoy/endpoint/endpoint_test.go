package endpoint

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sluicemesh/sluice/internal/golden"
	"github.com/sluicemesh/sluice/xds/envoy/fixture"
	"github.com/sluicemesh/sluice/xds/ir"
)

func TestGolden(t *testing.T) {
	golden.Run(t, "testdata", "yaml", "yaml", func(t *testing.T, data []byte) []byte {
		var in struct {
			Endpoints []ir.Endpoint
			Builds    []struct {
				Name   string
				Subset ir.Labels
				Key    Key
			}
		}
		if err := fixture.Decode(data, &in); err != nil {
			t.Fatal(err)
		}
		var out []proto.Message
		for _, b := range in.Builds {
			out = append(out, Build(b.Name, in.Endpoints, b.Subset, b.Key))
		}
		return fixture.YAML(t, out...)
	})
}
