package capture

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestAnnotated(t *testing.T) {
	tests := []struct {
		name        string
		annotations map[string]string
		want        func(*Config)
		mistakes    []string // keys
	}{
		{name: "none", want: func(*Config) {}},
		{
			name: "all",
			annotations: map[string]string{
				"traffic.sidecar.istio.io/includeOutboundIPRanges": "10.0.0.0/8, 1.2.3.4",
				"traffic.sidecar.istio.io/excludeOutboundIPRanges": "10.1.0.0/16",
				"traffic.sidecar.istio.io/includeInboundPorts":     "80,81",
				"traffic.sidecar.istio.io/excludeInboundPorts":     "22",
				"traffic.sidecar.istio.io/includeOutboundPorts":    "9000",
				"traffic.sidecar.istio.io/excludeOutboundPorts":    "25,26",
				"traffic.sidecar.istio.io/excludeInterfaces":       "net1",
				"istio.io/reroute-virtual-interfaces":              "br0",
				"traffic.sidecar.istio.io/kubevirtInterfaces":      "br1",
			},
			want: func(c *Config) {
				c.OutboundRanges = Ranges{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("1.2.3.4/32")}}
				c.OutboundExcludeRanges = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
				c.InboundPorts = Ports{List: []uint16{80, 81}}
				c.InboundExcludePorts = []uint16{22}
				c.OutboundPorts = []uint16{9000}
				c.OutboundExcludePorts = []uint16{25, 26}
				c.ExcludeInterfaces = []string{"net1"}
				c.VirtualInterfaces = []string{"br0"}
			},
		},
		{
			name: "empty is nothing",
			annotations: map[string]string{
				"traffic.sidecar.istio.io/includeOutboundIPRanges": "",
				"traffic.sidecar.istio.io/includeInboundPorts":     "",
			},
			want: func(c *Config) { c.OutboundRanges, c.InboundPorts = Ranges{}, Ports{} },
		},
		{
			name: "each mistake",
			annotations: map[string]string{
				"traffic.sidecar.istio.io/includeOutboundIPRanges": "ten",
				"traffic.sidecar.istio.io/excludeOutboundPorts":    "http",
			},
			mistakes: []string{"traffic.sidecar.istio.io/includeOutboundIPRanges", "traffic.sidecar.istio.io/excludeOutboundPorts"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, mistakes := Default().Annotated(func(key string) (string, bool) {
				v, ok := tt.annotations[key]
				return v, ok
			})
			var keys []string
			for _, m := range mistakes {
				keys = append(keys, m.Key)
			}
			if diff := cmp.Diff(tt.mistakes, keys); diff != "" {
				t.Fatalf("mistakes (-want +got):\n%s", diff)
			}
			if tt.want == nil {
				return
			}
			want := Default()
			tt.want(&want)
			comparer := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), comparer); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOwners(t *testing.T) {
	tests := []struct {
		uid, gid   int64
		uids, gids []uint32
	}{
		{1337, 1337, []uint32{1337}, []uint32{1337}},
		{5, 7, []uint32{5}, []uint32{7}},
		{0, 1337, []uint32{1337}, []uint32{1337}},
		{0, 9, []uint32{1337}, []uint32{9}},
		{5, 0, []uint32{5}, []uint32{5}},
		{0, 0, nil, nil},
		{-1, 5, nil, nil},
		{5, 1<<32 - 1, nil, nil},
	}
	for _, tt := range tests {
		uids, gids, err := Owners(tt.uid, tt.gid)
		if (err == nil) != (tt.uids != nil) || !cmp.Equal(uids, tt.uids) || !cmp.Equal(gids, tt.gids) {
			t.Errorf("Owners(%d, %d) = %v, %v, %v; want %v, %v", tt.uid, tt.gid, uids, gids, err, tt.uids, tt.gids)
		}
	}
}
